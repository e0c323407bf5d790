"""`headrace status`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from sqlalchemy.exc import SQLAlchemyError

from headrace.breakers import StoppedRoute
from headrace.cli.errors import CommandError, Exit
from headrace.cli.route import as_fields, describe, stopped_routes
from headrace.compensations import Compensating, compensations
from headrace.compensations import describe as describe_compensation
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
    counted, stopped, known, undoing, left = await asyncio.gather(
        _figures(settings), _stopped(settings), _ledger_rows(settings), _compensations(settings), _open(settings)
    )
    rows: list[dict[str, Any]] = [
        {"part": part.part, "pid": part.pid, "address": part.address, "health": found, **_counts(part.part, counted)}
        for part, found in zip(parts, health, strict=True)
    ]
    for row in rows:
        if row["part"] == "ingress":
            row["ledger_rows"] = known
            row["stopped_routes"] = None if stopped is None else [as_fields(route) for route in stopped]
        if row["part"] == "workers":
            row["compensations"] = None if undoing is None else [asdict(run) for run in undoing]
        if row["part"] == "notifier":
            row.update(_reconciliation(left))
    if as_json:
        for row in rows:
            print(json.dumps(row))
    else:
        Console().print(_table(rows))
        for line in _lines(settings, counted, known, stopped, undoing, left):
            print(f"\n{line}")
    sick = [str(row["part"]) for row in rows if row["health"] != "healthy"]
    if sick:
        raise CommandError(Exit.UNREACHABLE, f"not healthy: {', '.join(sick)}; the logs are in {state_dir / 'logs'}")


def _lines(
    settings: Settings,
    counted: Figures | None,
    known: int | None,
    stopped: list[StoppedRoute] | None,
    undoing: list[Compensating] | None,
    left: OpenEvents | None,
) -> Iterator[str]:
    """What people read below the table."""
    if counted is not None:
        yield f"lag {counted.lag} records, backlog {counted.backlog} runs, dead letters {counted.dead_letters}"
    if known is not None:
        kept = "for ever" if settings.ledger_days is None else f"for {settings.ledger_days:g} days"
        yield f"ledger {known} events, kept {kept}"
    if left is not None:
        yield (
            f"open {left.open} events, the oldest for {left.oldest_open_seconds:.0f} s; unreconciled {left.unreconciled},"
            f" the reconciler is {left.lag_seconds:.0f} s behind"
        )
    yield from ["the database does not answer: no word of stopped routes"] if stopped is None else map(describe, stopped)
    yield from map(describe_compensation, undoing or [])


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


async def _compensations(settings: Settings) -> list[Compensating] | None:
    """None when Temporal does not answer; its row says so."""
    try:
        return await asyncio.wait_for(compensations(settings), _PATIENCE_SECONDS)
    except Exception:  # noqa: BLE001 - whatever the client raises
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


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table("part", "pid", "health", "address", box=None, pad_edge=False)
    for row in rows:
        colour = _COLOURS.get(row["health"], "red")
        table.add_row(row["part"], str(row["pid"] or "-"), f"[{colour}]{row['health']}[/]", row["address"] or "-")
    return table
