"""Lag, backlog and dead letters: what waits where, counted from Kafka and Temporal alone. And how many events the ledger knows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from headrace import kafka, temporal
from headrace.settings import Settings
from headrace.store import migrate
from headrace.store.engine import engine_of
from headrace.store.tables import COMPLETIONS, DEAD_LETTERS, LEDGER, OPEN_EVENTS, RECONCILER
from schemas import names
from schemas.routes import load_routes
from schemas.topics import Topics

REASONS_SINCE = timedelta(days=7)
"""How far back dead letters are counted by their reason: it is today's cause that is looked for."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Counts of records and runs at one moment."""

    lag: int
    """Request records behind the ingress group's committed offsets."""
    dead_letters: int
    """Records in the dead-letter topics."""
    backlog: int
    """Runs that are open."""


async def figures(settings: Settings) -> Figures:
    """Raises what the clients raise when Kafka or Temporal does not answer."""
    topics = Topics(settings.topic_prefix)
    requests = [*(topics.requests(domain) for domain in load_routes(settings.routes_file).domains()), topics.commands]
    read = await kafka.partitions(settings, requests)
    dead = await kafka.partitions(settings, [topics.dead_letters(topic) for topic in requests])
    consumer = kafka.consumer(settings, group_id=settings.ingress_group)
    await consumer.start()
    try:
        begins, ends = await consumer.beginning_offsets([*read, *dead]), await consumer.end_offsets([*read, *dead])
        lag = 0
        for partition in read:
            lag += ends[partition] - max(begins[partition], await consumer.committed(partition) or 0)
    finally:
        await consumer.stop()
    client = await temporal.connect(settings)
    counted = await client.count_workflows(f"ExecutionStatus = 'Running' AND WorkflowType != '{names.RECONCILE}'")
    return Figures(lag, sum(ends[partition] - begins[partition] for partition in dead), counted.count)


async def ledger_rows(settings: Settings) -> int:
    """How many events the ledger knows. Raises what the driver raises when the database does not answer, or lacks the table."""
    database = engine_of(settings)
    try:
        if await migrate.current(database) is None:
            return 0
        async with database.connect() as connection:
            return (await connection.execute(select(func.count()).select_from(LEDGER))).scalar_one()
    finally:
        await database.dispose()


async def dead_letters_by_reason(settings: Settings) -> dict[str, int]:
    """Records that were dead-lettered within the last `REASONS_SINCE`. Raises as `ledger_rows` does."""
    database = engine_of(settings)
    table = DEAD_LETTERS.c
    counted = select(table.reason, func.count()).where(table.dead_lettered_at >= datetime.now(UTC) - REASONS_SINCE).group_by(table.reason)
    try:
        async with database.connect() as connection:
            rows = (await connection.execute(counted)).all()
            return {row[0]: row[1] for row in rows}
    finally:
        await database.dispose()


@dataclass(frozen=True, slots=True)
class OpenEvents:
    """Accepted events that have no completion, so far as the reconciler has looked."""

    open: int
    """Without a completion a minute after they were accepted: their runs go on, or nobody knows yet that they do not."""
    unreconciled: int
    """Those of them that are due to be looked at, and completions that are decided and not known to be published."""
    oldest_open_seconds: float
    lag_seconds: float
    """How long the oldest event has waited to be looked at; it grows while nothing reconciles. About a minute is usual."""


async def open_events(database: AsyncEngine) -> OpenEvents:
    """Raises what the driver raises when the database does not answer, or lacks a table."""
    now = datetime.now(UTC)
    reached = select(RECONCILER.c.reached_at).where(RECONCILER.c.name == "ledger").scalar_subquery()
    unread = select(func.min(LEDGER.c.claimed_at)).where(LEDGER.c.claimed_at > func.coalesce(reached, datetime(1970, 1, 1, tzinfo=UTC)))
    undelivered = select(func.count(), func.min(COMPLETIONS.c.decided_at)).where(COMPLETIONS.c.published_at.is_(None))
    due = select(func.count(), func.min(OPEN_EVENTS.c.next_check)).where(OPEN_EVENTS.c.next_check <= now)
    async with database.connect() as connection:
        count, oldest = (await connection.execute(select(func.count(), func.min(OPEN_EVENTS.c.claimed_at)))).one()
        due_count, due_since = (await connection.execute(due)).one()
        left_count, left_since = (await connection.execute(undelivered)).one()
        unread_since = (await connection.execute(unread)).scalar_one()
    waits = [(now - since).total_seconds() for since in (due_since, left_since, unread_since) if since is not None]
    age = 0.0 if oldest is None else (now - oldest).total_seconds()
    return OpenEvents(count, due_count + left_count, max(age, 0.0), max([*waits, 0.0]))


async def open_events_of(settings: Settings) -> OpenEvents:
    """The same on a connection of its own."""
    database = engine_of(settings)
    try:
        return await open_events(database)
    finally:
        await database.dispose()
