"""The table that moves while the requests do."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from headrace.demo.plan import Case

_COLOURS = {"SUCCEEDED": "green", "FAILED": "yellow", "REJECTED": "yellow", "duplicate": "cyan", "dead": "magenta", "running": "blue"}


def table(cases: list[Case]) -> Table:
    made = Table("", "user", "request", "state", "seconds", box=None, pad_edge=False)
    for number, case in enumerate(cases, 1):
        colour = _COLOURS.get(case.state.split(" ", 1)[0], "dim")
        seconds = "" if case.seconds is None else f"{case.seconds:.2f}"
        made.add_row(str(number), case.user, Text(case.about, overflow="ellipsis", no_wrap=True), Text(case.state, style=colour), seconds)
    return made
