"""What a terminal may be shown."""

from __future__ import annotations


def printable(text: str) -> str:
    """Without what would move a terminal's cursor: dead letters hold what strangers have sent."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
