"""`headrace status`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from sqlalchemy.exc import SQLAlchemyError

from headrace.breakers import StoppedRoute
from headrace.cli.errors import CommandError, Exit
from headrace.cli.route import as_fields, describe, stopped_routes
from headrace.figures import Figures, OpenEvents, figures, ledger_rows, open_events_of
from headrace.settings import Settings
from headrace.stack import control

_PATIENCE_SECONDS = 10.0
_COLOURS = {"healthy": "green", "starting": "yellow"}


async def show(settings: Settings, state_dir: Path, *, as_json: bool) -> None:
    """Prints each part. Raises `CommandError` (4) when one is not healthy, or nothing was started here."""
    parts = control.read_state(state_dir)
    if not parts:
        raise CommandError(
            Exit.UNREACHABLE, f"nothing runs in {state_dir}: `headrace up --detach` starts it; `headrace doctor` looks elsewhere"
        )
    health = await asyncio.gather(*(control.probe(part) for part in parts))
    counted, stopped, known, left = await asyncio.gather(_figures(settings), _stopped(settings), _ledger_rows(settings), _open(settings))
    rows: list[dict[str, Any]] = [
        {"part": part.part, "pid": part.pid, "address": part.address, "health": found, **_counts(part.part, counted)}
        for part, found in zip(parts, health, strict=True)
    ]
    for row in rows:
        if row["part"] == "ingress":
            row["ledger_rows"] = known
            row["stopped_routes"] = None if stopped is None else [as_fields(route) for route in stopped]
        if row["part"] == "notifier":
            row.update(_reconciliation(left))
    if as_json:
        for row in rows:
            print(json.dumps(row))
    else:
        Console().print(_table(rows))
        if counted is not None:
            print(f"\nlag {counted.lag} records, backlog {counted.backlog} runs, dead letters {counted.dead_letters}")
        print(_ledger_line(settings, known) + _open_line(left), end="")
        for line in ["the database does not answer: no word of stopped routes"] if stopped is None else map(describe, stopped):
            print(f"\n{line}")
    sick = [str(row["part"]) for row in rows if row["health"] != "healthy"]
    if sick:
        raise CommandError(Exit.UNREACHABLE, f"not healthy: {', '.join(sick)}; the logs are in {state_dir / 'logs'}")


async def _figures(settings: Settings) -> Figures | None:
    """None when Kafka or Temporal does not answer; their rows say so."""
    try:
        return await asyncio.wait_for(figures(settings), _PATIENCE_SECONDS)
    except Exception:  # noqa: BLE001 - whatever a client raises
        return None


async def _ledger_rows(settings: Settings) -> int | None:
    """None when the database does not answer in time."""
    try:
        return await asyncio.wait_for(ledger_rows(settings), _PATIENCE_SECONDS)
    except (SQLAlchemyError, OSError, TimeoutError):
        return None


async def _open(settings: Settings) -> OpenEvents | None:
    """None when the database does not answer in time."""
    try:
        return await asyncio.wait_for(open_events_of(settings), _PATIENCE_SECONDS)
    except (SQLAlchemyError, OSError, TimeoutError):
        return None


async def _stopped(settings: Settings) -> list[StoppedRoute] | None:
    """None when the database does not answer."""
    try:
        return await stopped_routes(settings)
    except CommandError:
        return None


def _counts(part: str, counted: Figures | None) -> dict[str, int | None]:
    if part == "ingress":
        return {"lag": counted.lag if counted else None, "dead_letters": counted.dead_letters if counted else None}
    if part == "workers":
        return {"backlog": counted.backlog if counted else None}
    return {}


def _reconciliation(left: OpenEvents | None) -> dict[str, float | None]:
    return {
        "open_events": left.open if left else None,
        "unreconciled_events": left.unreconciled if left else None,
        "oldest_open_seconds": round(left.oldest_open_seconds, 1) if left else None,
        "reconcile_lag_seconds": round(left.lag_seconds, 1) if left else None,
    }


def _ledger_line(settings: Settings, known: int | None) -> str:
    kept = "for ever" if settings.ledger_days is None else f"for {settings.ledger_days:g} days"
    return "" if known is None else f"\nledger {known} events, kept {kept}\n"


def _open_line(left: OpenEvents | None) -> str:
    if left is None:
        return ""
    behind = f"the reconciler is {left.lag_seconds:.0f} s behind"
    return f"\nopen {left.open} events, the oldest for {left.oldest_open_seconds:.0f} s; unreconciled {left.unreconciled}, {behind}\n"


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table("part", "pid", "health", "address", box=None, pad_edge=False)
    for row in rows:
        colour = _COLOURS.get(row["health"], "red")
        table.add_row(row["part"], str(row["pid"] or "-"), f"[{colour}]{row['health']}[/]", row["address"] or "-")
    return table
