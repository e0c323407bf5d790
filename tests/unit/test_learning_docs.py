"""docs/workflows.md says of the learning path what the code does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from schemas.errors import FailureType
from schemas.learning import LearningPathRequested, LearningPathResult, LearningStyle, ResourceKind
from workers.learning.schedule import RHYTHMS

SECTION = (Path(__file__).parents[2] / "docs" / "workflows.md").read_text().partition("## Learning path")[2].partition("\n## ")[0]


@pytest.mark.parametrize(
    "name", [*LearningPathResult.model_fields, *sorted(set(LearningPathRequested.model_fields) - {"event_id", "user_id", "requested_at"})]
)
def test_every_field_is_explained(name: str) -> None:
    assert f"`{name}`" in SECTION


def test_every_error_code_is_one() -> None:
    table = SECTION.partition("| error code |")[2]
    codes = {code for line in table.splitlines() for code in re.findall(r"`([A-Z]\w+)`", line.split("|")[1] if line.count("|") > 2 else "")}
    assert {"UnknownCategory", "InvalidSyllabus"} <= codes <= set(FailureType)


def test_every_style_and_kind_is_explained() -> None:
    for word in (*get_args(LearningStyle), *get_args(ResourceKind)):
        assert f"`{word}`" in SECTION
    for style, rhythm in RHYTHMS.items():
        assert f"| `{style}` | {rhythm.days} |" in SECTION
