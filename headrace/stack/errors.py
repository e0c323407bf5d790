"""What goes wrong with the embedded stack, as one sentence for the person at the terminal."""

from __future__ import annotations


class StackError(Exception):
    """The text is one sentence: what is wrong, where, and what to do."""
