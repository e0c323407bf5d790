"""`headrace status`."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from headrace.cli.errors import CommandError, Exit
from headrace.cli.route import as_fields
from headrace.cli.standing import Standing, asked, sentences, version
from headrace.figures import OpenEvents
from headrace.settings import Settings
from headrace.stack import control

_COLOURS = {"healthy": "green", "starting": "yellow"}
_REFRESH_SECONDS = 2.0


async def show(settings: Settings, state_dir: Path, *, as_json: bool) -> None:
    """Prints each part. Raises `CommandError` (4) when one is not healthy, or nothing was started here."""
    rows, now = await _looked(settings, state_dir)
    if not rows:
        raise CommandError(Exit.UNREACHABLE, _nothing(state_dir))
    if as_json:
        for row in rows:
            print(json.dumps(to_jsonable_python(row)))
    else:
        Console().print(_table(rows))
        for line in sentences(settings, now):
            print(f"\n{line}")
    sick = [str(row["part"]) for row in rows if row["health"] != "healthy"]
    if sick:
        raise CommandError(Exit.UNREACHABLE, f"not healthy: {', '.join(sick)}; the logs are in {state_dir / 'logs'}")


async def watch(settings: Settings, state_dir: Path) -> None:
    """Shows each part, again and again, until it is interrupted. Raises `CommandError` (4) when nothing was started here."""
    rows, now = await _looked(settings, state_dir)
    if not rows:
        raise CommandError(Exit.UNREACHABLE, _nothing(state_dir))
    console = Console()
    if not console.is_terminal:  # into a file or a pipe: one page after the other
        while rows:
            console.print(_page(settings, rows, now))
            await asyncio.sleep(_REFRESH_SECONDS)
            rows, now = await _looked(settings, state_dir)
        raise CommandError(Exit.UNREACHABLE, _nothing(state_dir))
    with Live(_page(settings, rows, now), console=console, auto_refresh=False) as live:
        while True:
            await asyncio.sleep(_REFRESH_SECONDS)
            rows, now = await _looked(settings, state_dir)
            live.update(_page(settings, rows, now) if rows else Text(_nothing(state_dir)), refresh=True)


async def _looked(settings: Settings, state_dir: Path) -> tuple[list[dict[str, Any]], Standing]:
    parts = control.read_state(state_dir)
    health, now = await asyncio.gather(asyncio.gather(*(control.probe(part) for part in parts)), asked(settings, parts))
    return [
        {"part": part.part, "pid": part.pid, "address": part.address, "health": found, **_more(part.part, now)}
        for part, found in zip(parts, health, strict=True)
    ], now


def _nothing(state_dir: Path) -> str:
    return f"nothing runs in {state_dir}: `headrace up --detach` starts it; `headrace doctor` looks elsewhere"


def _more(part: str, now: Standing) -> dict[str, Any]:
    """What `--json` says of a part beside its health."""
    if part == "ingress":
        return {
            "lag": now.figures.lag if now.figures else None,
            "dead_letters": now.figures.dead_letters if now.figures else None,
            "dead_letters_by_reason": now.reasons,
            "dispositions": now.dispositions,
            "ledger_rows": now.ledger_rows,
            "stopped_routes": None if now.stopped is None else [as_fields(route) for route in now.stopped],
            "version": version(),
            "tables": now.revision,
        }
    if part == "workers":
        return {
            "backlog": now.figures.backlog if now.figures else None,
            "compensations": None if now.compensating is None else [asdict(run) for run in now.compensating],
            "queues": None if now.queues is None else [asdict(queue) for queue in now.queues],
        }
    if part == "notifier":
        return _reconciliation(now.open)
    if part == "temporal":
        return {"schedules": None if now.schedules is None else [asdict(schedule) for schedule in now.schedules]}
    return {}


def _reconciliation(left: OpenEvents | None) -> dict[str, float | None]:
    return {
        "open_events": left.open if left else None,
        "unreconciled_events": left.unreconciled if left else None,
        "oldest_open_seconds": round(left.oldest_open_seconds, 1) if left else None,
        "reconcile_lag_seconds": round(left.lag_seconds, 1) if left else None,
    }


def _page(settings: Settings, rows: list[dict[str, Any]], now: Standing) -> RenderableType:
    return Group(_table(rows), Text(), *(Text(line) for line in sentences(settings, now)))


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table("part", "pid", "health", "address", box=None, pad_edge=False)
    for row in rows:
        colour = _COLOURS.get(row["health"], "red")
        table.add_row(row["part"], str(row["pid"] or "-"), f"[{colour}]{row['health']}[/]", row["address"] or "-")
    return table
