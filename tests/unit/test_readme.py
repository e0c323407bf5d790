"""The README and the guarantees say only what is there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from headrace.settings import Settings
from schemas.errors import Reason

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
GUARANTEES = (ROOT / "docs" / "guarantees.md").read_text()


def test_every_setting_is_in_the_readme_and_the_other_way_round() -> None:
    named = set(re.findall(r"`(HEADRACE_[A-Z0-9_]+)`", README)) - {"HEADRACE_STATE_DIR", "HEADRACE_SECRETS_DIR"}
    aliased = {"openai_api_key", "openai_base_url", "huggingface_token", "temporal_address", "temporal_namespace", "temporal_api_key"}
    assert named == {f"HEADRACE_{name.upper()}" for name in Settings.model_fields if name not in aliased}


def test_every_make_target_in_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^\s+make ([a-z-]+)", README, re.MULTILINE)) <= targets


@pytest.mark.parametrize(("file", "names"), re.findall(r"`([a-z_/]+\.py)` ((?:`[\w.]+`(?:, )?)+)", README + GUARANTEES))
def test_every_file_has_what_the_readme_says_it_has(file: str, names: str) -> None:
    text = (ROOT / file).read_text()
    if file.startswith("tests/"):
        assert all(f"def {name}(" in text for name in re.findall(r"`(\w+)`", names))
        return
    module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    for name in re.findall(r"`([\w.]+)`", names):
        found: object = module
        for part in name.split("."):
            found = getattr(found, part)


def test_every_test_that_the_readme_names_exists() -> None:
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", README + GUARANTEES)
    assert len(named) >= 10
    assert [name for name in named if f"def {name}(" not in tests] == []


def test_every_file_of_tests_that_the_guarantees_name_exists() -> None:
    named = set(re.findall(r"`(tests/[a-z_/]+\.py)`", README + GUARANTEES))
    assert len(named) >= 10
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_reason_is_in_the_table_of_errors() -> None:
    table = GUARANTEES.partition("## What each error means")[2]
    assert [reason for reason in Reason if f"`{reason}`" not in table] == []


def test_every_setting_that_the_guarantees_name_is_one() -> None:
    named = set(re.findall(r"`(HEADRACE_[A-Z0-9_]+)`", GUARANTEES))
    assert named <= {f"HEADRACE_{name.upper()}" for name in Settings.model_fields}


def test_every_link_leads_somewhere() -> None:
    assert [link for link in re.findall(r"\]\(([^)#:]+)\)", README) if not (ROOT / link).exists()] == []
