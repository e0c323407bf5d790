"""How everything stands at one moment: asked of every source side by side, each for a bounded time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Any, TypeVar

from prometheus_client.parser import text_string_to_metric_families

from headrace import queues as task_queues
from headrace.breakers import StoppedRoute
from headrace.cli.printing import printable
from headrace.cli.route import describe, stopped_routes
from headrace.compensations import Compensating, compensations
from headrace.compensations import describe as describe_compensation
from headrace.figures import REASONS_SINCE, Figures, OpenEvents, dead_letters_by_reason, figures, ledger_rows, open_events_of
from headrace.queues import Queue, ScheduleState
from headrace.settings import Settings
from headrace.stack.part import local_client
from headrace.stack.state import PartState
from headrace.store import migrate
from headrace.store.engine import engine_of

T = TypeVar("T")

_PATIENCE_SECONDS = 10.0
_RECORDS = "headrace_ingress_records"


@dataclass(frozen=True, slots=True)
class Standing:
    """None where the source does not answer in time."""

    figures: Figures | None
    ledger_rows: int | None
    stopped: list[StoppedRoute] | None
    compensating: list[Compensating] | None
    open: OpenEvents | None
    queues: list[Queue] | None
    schedules: list[ScheduleState] | None
    reasons: dict[str, int] | None
    """Dead letters of the last `REASONS_SINCE`."""
    dispositions: dict[str, int] | None
    """Records since the ingress process was started: its own count, since the ledger's would be a scan."""
    revision: str | None
    """Of the tables."""


async def asked(settings: Settings, parts: list[PartState]) -> Standing:
    """Raises nothing that a source raises."""
    async with asyncio.TaskGroup() as group:
        counted = group.create_task(_answer(figures(settings)))
        known = group.create_task(_answer(ledger_rows(settings)))
        stopped = group.create_task(_answer(stopped_routes(settings)))
        undoing = group.create_task(_answer(compensations(settings)))
        left = group.create_task(_answer(open_events_of(settings)))
        queues = group.create_task(_answer(task_queues.queues(settings)))
        schedules = group.create_task(_answer(task_queues.schedules(settings)))
        reasons = group.create_task(_answer(dead_letters_by_reason(settings)))
        dispositions = group.create_task(_answer(_dispositions(parts)))
        revision = group.create_task(_answer(_revision(settings)))
    return Standing(
        counted.result(),
        known.result(),
        stopped.result(),
        undoing.result(),
        left.result(),
        queues.result(),
        schedules.result(),
        reasons.result(),
        dispositions.result(),
        revision.result(),
    )


def sentences(settings: Settings, now: Standing) -> Iterator[str]:
    """What people read below the table; notes and failures in it are other people's words."""
    for text in _sentences(settings, now):
        yield "\n".join(map(printable, text.splitlines()))


def _sentences(settings: Settings, now: Standing) -> Iterator[str]:
    if now.figures is not None:
        yield f"lag {now.figures.lag} records, backlog {now.figures.backlog} runs, dead letters {now.figures.dead_letters}"
    if now.dispositions:
        yield "records since the ingress was started: " + _counts(now.dispositions)
    if now.reasons:
        yield f"dead letters of the last {REASONS_SINCE.days} days: {_counts(now.reasons)}"
    if now.ledger_rows is not None:
        kept = "for ever" if settings.ledger_days is None else f"for {settings.ledger_days:g} days"
        yield f"ledger {now.ledger_rows} events, kept {kept}"
    if now.open is not None:
        yield (
            f"open {now.open.open} events, the oldest for {now.open.oldest_open_seconds:.0f} s; unreconciled {now.open.unreconciled},"
            f" the reconciler is {now.open.lag_seconds:.0f} s behind"
        )
    if now.queues is None:
        yield "Temporal does not answer: no word of queues and schedules; `headrace doctor` says why"
    yield from map(task_queues.describe, now.queues or [])
    yield from map(task_queues.describe_schedule, now.schedules or [])
    yield from ["the database does not answer: no word of stopped routes"] if now.stopped is None else map(describe, now.stopped)
    yield from map(describe_compensation, now.compensating or [])
    yield f"headrace {version()}, tables {_tables(now.revision)}"


def version() -> str:
    """Of this command, and of the services that it starts."""
    return metadata.version("headrace")


def _tables(revision: str | None) -> str:
    if revision is None:
        return "not known"
    needed = migrate.newest()
    return f"at revision {revision}" if revision == needed else f"at revision {revision}, not {needed}: run `headrace setup`"


def _counts(counted: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counted.items(), key=lambda each: -each[1]))


async def _answer(source: Coroutine[Any, Any, T]) -> T | None:
    try:
        return await asyncio.wait_for(source, _PATIENCE_SECONDS)
    except Exception:  # noqa: BLE001 - whatever a client raises; the row of the part says that it is away
        return None


async def _dispositions(parts: list[PartState]) -> dict[str, int]:
    """Raises `LookupError` without an ingress here, `httpx.HTTPError` while it does not answer."""
    health = {part.part: part.health for part in parts}["ingress"]
    async with local_client() as client:
        text = (await client.get(f"{health.rpartition('/')[0]}/metrics")).raise_for_status().text
    counted: dict[str, int] = {}
    for family in text_string_to_metric_families(text):
        if family.name == _RECORDS:
            for sample in family.samples:
                if sample.name == f"{_RECORDS}_total":
                    disposition = sample.labels["disposition"]
                    counted[disposition] = counted.get(disposition, 0) + int(sample.value)
    return counted


async def _revision(settings: Settings) -> str | None:
    database = engine_of(settings)
    try:
        return await migrate.current(database)
    finally:
        await database.dispose()
