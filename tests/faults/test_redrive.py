"""A redrive of ten thousand while live traffic flows and the notifier is killed: read back from Kafka, each exactly once."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

from sqlalchemy import func, select

from headrace import setup, temporal
from headrace.settings import Settings
from headrace.store.engine import engine
from headrace.store.tables import REDRIVES
from schemas import headers, names
from schemas.redrive import Progress, Redrive, State
from schemas.routes import load_routes
from tests.integration.test_notifier_process import environment
from tests.support.dead_letters import bury, producing, ranges, request_topic
from tests.support.eventually import eventually
from tests.support.ingress import read_all
from tests.support.temporal_namespace import in_namespace_of_its_own

DEAD_LETTERS = 10_000


async def notifier(settings: Settings, tmp_path: Path) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "notifier", env=environment(settings, tmp_path), stdout=DEVNULL, stderr=DEVNULL
    )


async def live(settings: Settings) -> None:
    """Other senders' records in the same topic, some of which look like a redrive's."""
    async with producing(settings) as producer:
        while True:
            forged = [("dlq_redrives", b"1"), ("dlq_redrive_id", str(uuid4()).encode())]
            await producer.send(request_topic(settings), b"live", headers=forged)
            await asyncio.sleep(0.002)


@contextlib.contextmanager
def between_send_and_note(file: str) -> Iterator[set[UUID]]:
    """Holds the database's write lock when a batch is claimed and not yet noted: what is sent cannot be written down. The batch."""
    with contextlib.closing(sqlite3.connect(file, timeout=10, isolation_level=None)) as connection:
        while True:
            connection.execute("BEGIN IMMEDIATE")
            rows = connection.execute("SELECT dead_letter_id FROM redrives WHERE state = 'sending'").fetchall()
            if rows:
                yield {UUID(row[0]) for row in rows}
                connection.execute("ROLLBACK")
                return
            connection.execute("ROLLBACK")
            time.sleep(0.001)


async def kill_between_send_and_note(settings: Settings, process: Process) -> int:
    """Kills the notifier when a whole batch is in the topic and none of it is written down; how many records it was."""
    file = settings.database_url.removeprefix("sqlite+aiosqlite:///")
    with between_send_and_note(file) as batch:

        async def all_sent() -> bool:
            return batch <= {headers.redrive_id(record.headers) for record in await read_all(settings, request_topic(settings))}

        await eventually(all_sent, timeout=30)
        process.kill()
        await process.wait()
        return len(batch)


async def test_a_redrive_that_is_killed_half_way_sends_each_dead_letter_exactly_once(settings: Settings, tmp_path: Path) -> None:
    settings = await in_namespace_of_its_own(settings)
    await setup._topics(settings, load_routes(), lambda _: None)
    await setup._tables(settings, lambda _: None)
    for partition in range(2):
        # Without a readable event ID: no ledger would hide a record that was sent twice.
        values: list[bytes | None] = [f"{partition}-{number}".encode() for number in range(DEAD_LETTERS // 2)]
        await bury(settings, values, partition=partition, sent=[])
    client, redrive_id = await temporal.connect(settings), uuid4()
    database = engine(settings.database_url)

    async def redriven() -> int:
        query = select(func.count()).where(REDRIVES.c.state == State.REDRIVEN)
        async with database.connect() as connection:
            return int((await connection.execute(query)).scalar_one())

    doubtful = 0
    traffic = asyncio.create_task(live(settings))
    process = await notifier(settings, tmp_path)
    try:
        handle = await client.start_workflow(
            names.REDRIVE_WORKFLOW,
            Redrive(redrive_id=redrive_id, ranges=tuple(await ranges(settings))),
            id=f"redrive-{redrive_id}",
            task_queue=names.QUEUE_NOTIFICATIONS,
            result_type=Progress,
        )
        for share in (0.2, 0.6):
            least = int(DEAD_LETTERS * share)

            async def so_many(least: int = least) -> bool:
                return await redriven() >= least

            await eventually(so_many, timeout=90, interval=0.02)
            doubtful += await kill_between_send_and_note(settings, process)
            process = await notifier(settings, tmp_path)
        done = await asyncio.wait_for(handle.result(), 90)
    finally:
        traffic.cancel()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await database.dispose()
    assert doubtful > 0
    assert (done.done, done.total, done.sent, done.skipped, done.parked) == (DEAD_LETTERS, DEAD_LETTERS, DEAD_LETTERS, 0, 0)
    sent = [record for record in await read_all(settings, request_topic(settings)) if record.value != b"live"]
    assert Counter(record.value for record in sent).most_common(1)[0][1] == 1
    assert len(sent) == DEAD_LETTERS
    assert len({headers.redrive_id(record.headers) for record in sent}) == DEAD_LETTERS
