"""What Headrace is delivered with: its run-time dependencies as they are installed here, which `requirements.lock` pins."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


@dataclass(frozen=True)
class Dependency:
    distribution: metadata.Distribution
    needs: set[str]
    """Names of those that it needs in turn."""


def runtime() -> dict[str, Dependency]:
    """By name, those that they need in turn among them; without those that other platforms or Pythons need.

    Raises `importlib.metadata.PackageNotFoundError` for one that is not installed.
    """
    found: dict[str, Dependency] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [Requirement(text) for text in PROJECT["dependencies"]]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if (name, frozenset(requirement.extras)) in seen:
            continue
        seen.add((name, frozenset(requirement.extras)))
        dependency = found.setdefault(name, Dependency(metadata.distribution(requirement.name), set()))
        needed = list(_needed(dependency.distribution, requirement.extras))
        dependency.needs.update(canonicalize_name(other.name) for other in needed)
        waiting += needed
    return dict(sorted(found.items()))


def _needed(of: metadata.Distribution, extras: set[str]) -> Iterator[Requirement]:
    for text in of.requires or []:
        requirement = Requirement(text)
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield requirement


def expression(of: metadata.Distribution) -> str | None:
    """The SPDX expression that it declares."""
    return _first(of, "License-Expression")


def licence_names(of: metadata.Distribution) -> list[str]:
    """The licences of one without an expression, in its own words: its classifiers, or what stands in `License`."""
    classifiers = [text.rsplit(" :: ", 1)[-1] for text in of.metadata.get_all("Classifier") or [] if text.startswith("License :: ")]
    lines = (_first(of, "License") or "").strip().splitlines()
    return classifiers or lines[:1]


def _first(of: metadata.Distribution, field: str) -> str | None:
    return next(iter(of.metadata.get_all(field) or []), None)
