"""What the database knows of an event: its rows by indexed look-ups alone, in one read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, select
from sqlalchemy.ext.asyncio import AsyncEngine

from headrace.explain.facts import Fact, place
from headrace.store.tables import COMPLETIONS, DEAD_LETTERS, HISTORY, LEDGER, OPEN_EVENTS, REDRIVES, RERUNS
from schemas.ids import completion_id

_MOST_ROWS = 200
"""Of one table; a sender may have used one event ID for any number of refused records."""

Statement = Select[Any]


def statements(event_id: UUID) -> list[tuple[Statement, Callable[[Any], list[Fact]]]]:
    """Each with what its rows say."""
    asked: list[tuple[Statement, Callable[[Any], list[Fact]]]] = [
        (select(LEDGER).where(LEDGER.c.event_id == event_id), _ledger),
        # Not the columns with the record that is still to be sent.
        (
            select(*(COMPLETIONS.c[name] for name in _COMPLETION_COLUMNS)).where(COMPLETIONS.c.event_id == event_id),
            _completion,
        ),
        (select(*(HISTORY.c[name] for name in _HISTORY_COLUMNS)).where(HISTORY.c.event_id == event_id), _history),
        (select(DEAD_LETTERS).where(DEAD_LETTERS.c.event_id == event_id), _dead_letter),
        (select(REDRIVES).where(REDRIVES.c.event_id == event_id), _redrive),
        (select(RERUNS).where(RERUNS.c.event_id == event_id), _rerun),
        (select(OPEN_EVENTS).where(OPEN_EVENTS.c.event_id == event_id), _open),
    ]
    return [(statement.limit(_MOST_ROWS), told) for statement, told in asked]


async def facts(engine: AsyncEngine, event_id: UUID) -> list[Fact]:
    """Raises as SQLAlchemy and the driver do when the database does not answer, or lacks a table."""
    found: list[Fact] = []
    async with engine.connect() as connection:
        for statement, told in statements(event_id):
            for row in (await connection.execute(statement)).all():
                found += told(row)
    return found


_COMPLETION_COLUMNS = ("completion_id", "event_id", "record", "status", "topic", "partition", "offset", "decided_at", "published_at")
_HISTORY_COLUMNS = (
    *("history_id", "domain", "workflow_id", "run_id", "status", "error_code", "error_message", "recorded_at"),
    *("published_topic", "published_partition", "published_offset", "archive_key"),
)
_MOST_GENERATIONS = 100


def _ledger(row: Row[Any]) -> list[Fact]:
    claimed = {"record": row.record, "disposition": row.disposition, "payload_sha256": bytes(row.payload_sha256).hex()}
    found = [Fact(row.claimed_at, "claimed", place(row.topic, row.partition, row.offset), claimed)]
    if row.disposition != "pending":
        run = None if row.workflow_id is None else f"{row.workflow_id}/{row.run_id or ''}"
        found.append(Fact(row.settled_at, row.disposition, run, {"workflow_id": row.workflow_id, "run_id": row.run_id}))
    return found


def _completion(row: Row[Any]) -> list[Fact]:
    told = {"completion_id": row.completion_id, "record": row.record, "status": row.status}
    generation = next((n for n in range(1, _MOST_GENERATIONS) if completion_id(row.event_id, n) == row.completion_id), None)
    if generation is not None and generation > 1:
        told["generation"] = generation
    found = [Fact(row.decided_at, "completion_decided", "completions", told)]
    if row.published_at is not None:
        found.append(Fact(row.published_at, "completion_published", place(row.topic, row.partition, row.offset), told))
    return found


def _history(row: Row[Any]) -> list[Fact]:
    where = None if row.published_topic is None else place(row.published_topic, row.published_partition, row.published_offset)
    told = {
        name: getattr(row, name) for name in ("history_id", "workflow_id", "run_id", "status", "error_code", "error_message", "archive_key")
    }
    return [Fact(row.recorded_at, "history_recorded", where, told)]


def _dead_letter(row: Row[Any]) -> list[Fact]:
    told = {
        "reason": row.reason,
        "message": row.message,
        "record_at": place(row.topic, row.partition, row.offset),
        "receipt_id": row.receipt_id,
    }
    return [Fact(row.dead_lettered_at, "dead_lettered", place(row.dlq_topic, row.dlq_partition, row.dlq_offset), told)]


def _redrive(row: Row[Any]) -> list[Fact]:
    to = None if row.to_offset is None else place(row.to_topic, row.to_partition, row.to_offset)
    told = {
        **{name: getattr(row, name) for name in ("state", "cause", "reason", "redrive_id", "redrives")},
        "dead_letter_at": place(row.topic, row.partition, row.offset),
    }
    return [Fact(row.settled_at or row.claimed_at, "redrive", to, told)]


def _rerun(row: Row[Any]) -> list[Fact]:
    told = {name: getattr(row, name) for name in ("generation", "failed_run_id", "rerun_id")}
    return [Fact(row.claimed_at, "rerun", f"{row.workflow_id}/{row.run_id or ''}", told)]


def _open(row: Row[Any]) -> list[Fact]:
    told = {"claimed_at": row.claimed_at, "next_check": row.next_check, "missing_since": row.missing_since}
    return [Fact(None, "open", f"{row.workflow_id}/{row.run_id or ''}", told)]
