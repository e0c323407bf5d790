"""The table that moves while the requests do."""

from __future__ import annotations

from rich.table import Column, Table
from rich.text import Text

from headrace.demo.plan import Case

_COLOURS = {
    "SUCCEEDED": "green",
    "FAILED": "yellow",
    "REJECTED": "yellow",
    "CANCELLED": "yellow",
    "duplicate": "cyan",
    "dead": "magenta",
    "running": "blue",
    "paused": "cyan",
    "not": "red",
}


def table(cases: list[Case]) -> Table:
    made = Table("", Column("user", max_width=9), "request", "state", "seconds", box=None, pad_edge=False)
    section = ""
    for number, case in enumerate(cases, 1):
        if case.section != section:
            section = case.section
            made.add_row("", "", Text(section, style="bold"))
        colour = _COLOURS.get(case.state.split(" ", 1)[0], "dim")
        seconds = "" if case.seconds is None else f"{case.seconds:.2f}"
        user = Text(case.user, overflow="ellipsis", no_wrap=True)
        made.add_row(str(number), user, Text(case.about, overflow="ellipsis", no_wrap=True), Text(case.state, style=colour), seconds)
    return made
