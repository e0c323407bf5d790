"""What goes wrong while an environment is set up, as one sentence for the person at the terminal. Light: every command imports it."""

from __future__ import annotations


class SetupError(Exception):
    """A part could not be set up; the text names it, its address and the setting."""


class SetupRefusedError(SetupError):
    """The part answers, and does not take what is to be made: asking again gives the same answer."""
