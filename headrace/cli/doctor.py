"""`headrace doctor`."""

from __future__ import annotations

import dataclasses
import json
import platform
import sys

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from headrace.checks import Finding, all_findings
from headrace.cli.errors import CommandError, Exit
from headrace.settings import Settings

_COLOURS = {"ok": "green", "warning": "yellow", "failed": "red", "unreachable": "red"}


async def show(settings: Settings, *, as_json: bool) -> None:
    """Prints each finding. Raises `CommandError` when one is `failed` (1) or `unreachable` (4)."""
    machine = f"{platform.python_version()} on {sys.platform} {platform.machine()}"
    found = [Finding("python", "ok", machine), *await all_findings(settings)]
    if as_json:
        for finding in found:
            print(json.dumps(dataclasses.asdict(finding)))
    else:
        table = Table("check", "", "detail", box=None, pad_edge=False)
        for finding in found:
            table.add_row(finding.check, f"[{_COLOURS[finding.verdict]}]{finding.verdict}[/]", escape(finding.detail))
        Console().print(table)
    if any(finding.verdict == "unreachable" for finding in found):
        raise CommandError(Exit.UNREACHABLE, "a part is not reachable: is it up? `headrace up` starts the embedded stack")
    if any(finding.verdict == "failed" for finding in found):
        raise CommandError(Exit.FAILED, "something is not as it must be, see above")
