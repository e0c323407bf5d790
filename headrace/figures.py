"""Lag, backlog and dead letters: what waits where, counted from Kafka and Temporal alone. And how many events the ledger knows."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from headrace import kafka, temporal
from headrace.settings import Settings
from headrace.store import migrate
from headrace.store.engine import engine
from headrace.store.tables import LEDGER
from schemas.routes import load_routes
from schemas.topics import Topics


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
    counted = await client.count_workflows("ExecutionStatus = 'Running'")
    return Figures(lag, sum(ends[partition] - begins[partition] for partition in dead), counted.count)


async def ledger_rows(settings: Settings) -> int:
    """How many events the ledger knows. Raises what the driver raises when the database does not answer, or lacks the table."""
    database = engine(settings.database_url)
    try:
        if await migrate.current(database) is None:
            return 0
        async with database.connect() as connection:
            return (await connection.execute(select(func.count()).select_from(LEDGER))).scalar_one()
    finally:
        await database.dispose()
