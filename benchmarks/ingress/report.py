"""What was found, as a table and as `benchmarks/results/ingress.json`."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.ingress.figure import Section

RESULTS = Path(__file__).parents[1] / "results"
FILE = RESULTS / "ingress.json"
_COLOURS = {"reached": "green", "missed": "bold red", "": ""}


def machine() -> dict[str, Any]:
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "load_average": [round(each, 2) for each in os.getloadavg()],
    }


def kept() -> dict[str, Any]:
    """The sections measured so far, each with its date."""
    found: dict[str, Any] = json.loads(FILE.read_text()) if FILE.exists() else {}
    return found


def keep(name: str, section: Section) -> None:
    """Puts the section in the place of the one of before."""
    RESULTS.mkdir(exist_ok=True)
    new = {**machine(), "figures": [figure.json() for figure in section.figures], "details": section.details}
    FILE.write_text(json.dumps({**kept(), name: new}, indent=1) + "\n")


def table(name: str, section: Section) -> Table:
    made = Table("figure", "to reach", "measured: median [min .. max]", "", title=name, box=None, title_justify="left")
    for figure in section.figures:
        made.add_row(figure.name, figure.to_reach, figure.measured, figure.verdict, style=_COLOURS[figure.verdict])
    return made
