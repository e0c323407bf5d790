"""Every test that the security page names is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text("utf-8")


def test_every_test_that_the_security_page_names_is_there() -> None:
    named = set(re.findall(r"`(test_[a-z0-9_]+)`", PAGE))
    there = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)\(", file.read_text("utf-8"), re.MULTILINE)
    }
    assert len(named) > 20
    assert named <= there
    files = re.findall(r"`(tests/[a-z0-9_/]+\.py)`", PAGE)
    assert [file for file in files if not (ROOT / file).is_file()] == []


def test_every_line_of_what_a_stranger_can_and_cannot_do_names_what_tries_it() -> None:
    part = PAGE.partition("## Who can produce to a request topic")[2].partition("## Secrets")[0]
    rows = [line for line in part.splitlines() if line.startswith("| ") and not line.startswith("| |")]
    assert len(rows) > 18
    assert [row for row in rows if "test_" not in row.split(" | ")[-1] and "by hand" not in row] == []
