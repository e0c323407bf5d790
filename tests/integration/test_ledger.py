"""The ledger on both databases: who is first, what waits, what is never lost."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import OperationalError, StatementError
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from headrace.figures import dead_letters_by_reason, ledger_rows
from headrace.settings import Settings
from headrace.store import migrate
from headrace.store.engine import engine
from headrace.store.tables import LEDGER
from ingress.ledger import Burial, Claim, Entry, Ledger
from tests.support import postgres
from tests.support.eventually import eventually

_RECORD = "headrace.image.ImageGenerationRequested"


def _claim(event_id: UUID | None = None, offset: int = 0) -> Claim:
    return Claim(event_id or uuid4(), _RECORD, bytes(range(32)), "image.requests", 3, offset)


def _own(entry: Entry, claim: Claim) -> bool:
    return (entry.topic, entry.partition, entry.offset) == (claim.topic, claim.partition, claim.offset)


async def _rows(store: AsyncEngine) -> int:
    async with store.connect() as connection:
        return (await connection.execute(select(func.count()).select_from(LEDGER))).scalar_one()


def _counted(metric: str) -> float:
    return REGISTRY.get_sample_value(f"headrace_ingress_ledger_{metric}") or 0.0


@asynccontextmanager
async def _write_locked(store: AsyncEngine) -> AsyncIterator[None]:
    """Another process that writes, and takes its time; readers pass."""
    async with store.connect() as connection:
        lock = "BEGIN IMMEDIATE" if store.dialect.name == "sqlite" else "LOCK TABLE ledger IN EXCLUSIVE MODE"
        await connection.exec_driver_sql(lock)
        yield
        await connection.rollback()


@pytest.fixture
def away(request: pytest.FixtureRequest, store: AsyncEngine) -> Callable[[], AbstractAsyncContextManager[None]]:
    """Takes the database from all who use it, also from those who are connected."""
    if store.dialect.name == "sqlite":
        return lambda: _without_table(store)
    return lambda: _without_connections(request.getfixturevalue("postgres_server"), str(store.url.database))


@asynccontextmanager
async def _without_table(store: AsyncEngine) -> AsyncIterator[None]:
    # An open SQLite file cannot be taken away: what is moved is written to where it was moved to. Its table can.
    async with store.begin() as connection:
        await connection.execute(text("ALTER TABLE ledger RENAME TO elsewhere"))
    yield
    async with store.begin() as connection:
        await connection.execute(text("ALTER TABLE elsewhere RENAME TO ledger"))


@asynccontextmanager
async def _without_connections(server: Path, name: str) -> AsyncIterator[None]:
    admin = engine(f"postgresql+asyncpg://postgres@/postgres?host={server}")
    async with admin.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.exec_driver_sql(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        await connection.execute(text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"), {"name": name})
        yield
        await connection.exec_driver_sql(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    await admin.dispose()


async def test_a_record_that_comes_again_finds_what_became_of_its_event(store: AsyncEngine) -> None:
    claim = _claim(offset=2**40)
    async with Ledger(store) as ledger:
        first = await ledger.claim(claim)
        assert first == Entry(claim.event_id, _RECORD, claim.payload_sha256, "image.requests", 3, 2**40, "pending", None, None)
        assert await ledger.claim(_claim(claim.event_id, 7)) == first
        await ledger.settle(claim.event_id, "started", "image-1", "run-1")
    async with Ledger(store) as ledger:  # another process, later
        assert await ledger.claim(_claim(claim.event_id, 8)) == Entry(
            claim.event_id, _RECORD, claim.payload_sha256, "image.requests", 3, 2**40, "started", "image-1", "run-1"
        )
        assert await ledger.find(claim.event_id) == await ledger.claim(claim)
        assert await ledger.find(uuid4()) is None
    async with store.connect() as connection:
        row = (await connection.execute(select(LEDGER))).mappings().one()
    assert datetime.now(UTC) - timedelta(minutes=1) < row["claimed_at"] <= row["settled_at"] <= datetime.now(UTC)


async def test_the_first_of_one_batch_is_the_owner_whatever_its_place(store: AsyncEngine) -> None:
    event_id = uuid4()
    claims = [_claim(event_id, offset) for offset in (5, 3, 9)]
    async with Ledger(store) as ledger:
        entries = await asyncio.gather(*(ledger.claim(claim) for claim in claims))
    assert [entry.offset for entry in entries] == [5, 5, 5]
    assert await _rows(store) == 1


async def test_two_processes_that_claim_the_same_events_have_one_owner_each_and_no_deadlock(store: AsyncEngine, database_url: str) -> None:
    others = [engine(database_url) for _ in range(2)]
    with capture_logs() as logs:
        async with Ledger(others[0]) as one, Ledger(others[1]) as two:
            for _ in range(5):
                event_ids = [uuid4() for _ in range(500)]
                ones = [_claim(event_id, 1) for event_id in event_ids]
                twos = [_claim(event_id, 2) for event_id in reversed(event_ids)]
                got = await asyncio.gather(*(one.claim(claim) for claim in ones), *(two.claim(claim) for claim in twos))
                owners = {entry.event_id: entry.offset for entry in got[:500]}
                assert {entry.event_id: entry.offset for entry in got[500:]} == owners
                # Both have started it, and both say so, in one transaction with more claims.
                await asyncio.gather(
                    *(one.settle(event_id, "started", "w", "r1") for event_id in event_ids),
                    *(two.settle(event_id, "started", "w", "r2") for event_id in reversed(event_ids)),
                    *(one.claim(_claim()) for _ in range(20)),
                    *(two.claim(_claim()) for _ in range(20)),
                )
    for each in others:
        await each.dispose()
    assert logs == []
    assert await _rows(store) == 5 * (500 + 40)


async def test_a_rejected_event_does_not_hold_its_id(store: AsyncEngine) -> None:
    bad, good = _claim(offset=1), _claim(offset=2)
    good = Claim(bad.event_id, "headrace.other.Thing", b"g" * 32, "other.requests", 5, 2)
    async with Ledger(store) as ledger:
        await ledger.claim(bad)
        await ledger.settle(bad.event_id, "rejected", "w", "r")
        entry = await ledger.claim(good)
        assert entry == Entry(bad.event_id, good.record, good.payload_sha256, good.topic, 5, 2, "pending", None, None)
        assert await ledger.find(bad.event_id) == entry
    async with store.connect() as connection:
        assert (await connection.execute(select(LEDGER.c.settled_at))).scalar_one() is None


async def test_a_rejection_and_the_claim_after_it_keep_their_order_in_one_batch(store: AsyncEngine) -> None:
    first, second = _claim(offset=1), _claim(offset=2)
    second = _claim(first.event_id, 2)
    async with Ledger(store) as ledger:
        await ledger.claim(first)
        rejected = asyncio.create_task(ledger.settle(first.event_id, "rejected", None, None))
        again = asyncio.create_task(ledger.claim(second))
        started = asyncio.create_task(ledger.settle(first.event_id, "started", "w", "r"))
        await asyncio.gather(rejected, again, started)
        assert _own(again.result(), second)
        found = await ledger.find(first.event_id)
    assert found is not None
    assert (found.offset, found.disposition, found.run_id) == (2, "started", "r")


async def test_a_second_settlement_changes_nothing(store: AsyncEngine) -> None:
    claim = _claim()
    async with Ledger(store) as ledger:
        await ledger.claim(claim)
        await asyncio.gather(
            ledger.settle(claim.event_id, "started", "w", "first"), ledger.settle(claim.event_id, "started", "w", "second")
        )
        await ledger.settle(claim.event_id, "rejected", None, None)
        await ledger.settle(uuid4(), "started", "w", "of nobody")
        found = await ledger.find(claim.event_id)
    assert found is not None
    assert (found.disposition, found.run_id) == ("started", "first")


async def test_many_claims_at_once_do_not_cost_a_transaction_each(store: AsyncEngine) -> None:
    before, hits = _counted("flush_seconds_count"), _counted("hits_total")
    claims = [_claim() for _ in range(1200)]
    async with Ledger(store) as ledger:
        await asyncio.gather(*(ledger.claim(claim) for claim in claims))
        assert _counted("flush_seconds_count") - before <= 4
        assert _counted("hits_total") == hits
        await asyncio.gather(*(ledger.claim(claim) for claim in claims))
    assert _counted("hits_total") - hits == 1200


async def test_known_records_do_not_wait_for_who_writes(store: AsyncEngine) -> None:
    known = [_claim() for _ in range(20)]
    async with Ledger(store) as ledger:
        await asyncio.gather(*(ledger.claim(claim) for claim in known))
        async with _write_locked(store):
            async with asyncio.timeout(1):
                entries = await asyncio.gather(*(ledger.claim(claim) for claim in known))
    assert all(map(_own, entries, known))


async def test_a_locked_database_is_waited_for_and_nobody_overtakes(store: AsyncEngine) -> None:
    event_id, settled = uuid4(), _claim()
    claims = [_claim(event_id, offset) for offset in range(50)] + [_claim() for _ in range(50)]
    with capture_logs() as logs:
        async with Ledger(store) as ledger:
            await ledger.claim(settled)
            async with _write_locked(store):
                waiting = [asyncio.create_task(ledger.claim(claim)) for claim in claims]
                settling = asyncio.create_task(ledger.settle(settled.event_id, "started", "w", "r"))
                await eventually(lambda: not ledger.healthy)
                assert not any(task.done() for task in waiting)
            entries = await asyncio.gather(*waiting)
            await settling
            assert ledger.healthy
            found = await ledger.find(settled.event_id)
    assert [entry.offset for entry in entries[:50]] == [0] * 50
    assert all(map(_own, entries[50:], claims[50:]))
    assert found is not None
    assert found.disposition == "started"
    assert [entry["event"] for entry in logs] == ["ledger_waits", "ledger_is_back"]


async def test_a_database_that_goes_away_again_and_again_loses_nothing(
    store: AsyncEngine, away: Callable[[], AbstractAsyncContextManager[None]]
) -> None:
    claims: list[Claim] = []
    done: list[tuple[Claim, Entry]] = []
    stop = asyncio.Event()

    async def one(claim: Claim) -> None:
        done.append((claim, await ledger.claim(claim)))
        await ledger.settle(claim.event_id, "started", "w", "r")

    async def load() -> None:
        async with asyncio.TaskGroup() as group:
            while not stop.is_set():
                claims.append(_claim(offset=len(claims)))
                group.create_task(one(claims[-1]))
                await asyncio.sleep(0.001)

    async with Ledger(store) as ledger:
        loading = asyncio.create_task(load())
        for _ in range(3):
            reached = len(done) + 20
            await eventually(lambda: len(done) > reached)  # noqa: B023 - awaited here
            async with away():
                await eventually(lambda: not ledger.healthy)
            await eventually(lambda: ledger.healthy)
        stop.set()
        await loading
    assert len(done) == len(claims)
    assert all(_own(entry, claim) for claim, entry in done)
    async with store.connect() as connection:
        counted = (await connection.execute(select(LEDGER.c.disposition, func.count()).group_by(LEDGER.c.disposition))).all()
    assert [tuple(row) for row in counted] == [("started", len(claims))]


async def test_a_ledger_that_begins_before_its_table_says_what_to_run(database_url: str) -> None:
    made = engine(database_url)
    claim = _claim()
    with capture_logs() as logs:
        async with Ledger(made) as ledger:
            waiting = asyncio.create_task(ledger.claim(claim))
            await eventually(lambda: not ledger.healthy)
            await migrate.upgrade(made)
            assert _own(await waiting, claim)
    await made.dispose()
    assert "headrace setup" in logs[0]["error"]


async def test_a_sqlite_file_that_cannot_be_opened_is_waited_for(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/folder/store.db"
    claim = _claim()
    async with Ledger(engine(url)) as ledger:
        waiting = asyncio.create_task(ledger.claim(claim))
        await eventually(lambda: not ledger.healthy)
        made = engine(url)
        await migrate.upgrade(made)  # makes the folder
        assert _own(await waiting, claim)
        await made.dispose()


async def test_a_cancelled_claim_neither_writes_nor_holds_others_up(store: AsyncEngine) -> None:
    claims = [_claim(offset=offset) for offset in range(3)]
    async with Ledger(store) as ledger:
        async with _write_locked(store):
            first = asyncio.create_task(ledger.claim(claims[0]))
            await eventually(lambda: bool(ledger._batch))
            second, third = (asyncio.create_task(ledger.claim(claim)) for claim in claims[1:])
            await asyncio.sleep(0)
            first.cancel()
            second.cancel()
        assert _own(await third, claims[2])
        assert await ledger.find(claims[1].event_id) is None
        # The first was being written: its record comes again and finds its own row.
        assert _own(await ledger.claim(claims[0]), claims[0])


async def test_closing_does_not_wait_for_a_database_that_hangs(store: AsyncEngine) -> None:
    ledger = Ledger(store)
    async with _write_locked(store):
        async with ledger:
            waiting = asyncio.create_task(ledger.claim(_claim()))
            await eventually(lambda: bool(ledger._batch))
            queued = asyncio.create_task(ledger.claim(_claim()))
            await asyncio.sleep(0)
            closing = time.monotonic()
        assert time.monotonic() - closing < 5
    for task in (waiting, queued):
        with pytest.raises(asyncio.CancelledError):
            await task
    with pytest.raises(RuntimeError, match="closed"):
        await ledger.claim(_claim())
    assert await _rows(store) == 0


async def test_closing_does_not_wait_for_a_server_that_is_stopped(postgres_server: Path) -> None:
    made = engine(await postgres.create_database(postgres_server, f"t{uuid4().hex[:12]}"))
    await migrate.upgrade(made)
    await made.dispose()
    async with Ledger(made) as ledger:
        await ledger.claim(_claim())
        async with made.connect() as connection:
            others = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            pid = (await connection.execute(text(others))).scalar_one()
        os.kill(pid, signal.SIGSTOP)
        waiting = asyncio.create_task(ledger.claim(_claim()))
        await eventually(lambda: bool(ledger._batch))
        closing = time.monotonic()
    took = time.monotonic() - closing
    os.kill(pid, signal.SIGCONT)
    await made.dispose()
    assert took < 5
    assert waiting.cancelled()


@pytest.mark.parametrize("bad", [{"record": None}, {"offset": 2**70}, {"topic": "\ud800"}])
async def test_a_value_that_no_database_takes_fails_its_caller_instead_of_being_tried_for_ever(
    store: AsyncEngine, bad: dict[str, Any]
) -> None:
    values = {"event_id": uuid4(), "record": _RECORD, "payload_sha256": b"", "topic": "t", "partition": 0, "offset": 0}
    async with Ledger(store) as ledger:
        with pytest.raises((StatementError, OverflowError, UnicodeError)):
            await ledger.claim(Claim(**{**values, **bad}))
        assert ledger.healthy
        claim = _claim()
        assert _own(await ledger.claim(claim), claim)


async def test_rows_are_removed_at_their_age_and_never_while_pending(store: AsyncEngine) -> None:
    old, young, pending = [_claim() for _ in range(2100)], _claim(), _claim()
    removed = _counted("removed_total")
    async with Ledger(store) as ledger:
        await asyncio.gather(*(ledger.claim(claim) for claim in (*old, young, pending)))
        await asyncio.gather(*(ledger.settle(claim.event_id, "started", "w", "r") for claim in (*old, young)))
    async with store.begin() as connection:
        moment = datetime.now(UTC) - timedelta(days=2.01)
        await connection.execute(update(LEDGER).where(LEDGER.c.event_id != young.event_id).values(claimed_at=moment))
    async with Ledger(store, days=2) as ledger:
        await eventually(lambda: _counted("removed_total") - removed >= 2100)
        assert await ledger.find(old[0].event_id) is None
        assert await ledger.find(young.event_id) is not None
        assert await ledger.find(pending.event_id) is not None
    assert await _rows(store) == 2
    assert _counted("removed_total") - removed == 2100


async def test_two_processes_may_remove_the_same_rows(store: AsyncEngine) -> None:
    async with Ledger(store) as one, Ledger(store) as two:
        claims = [_claim() for _ in range(1500)]
        await asyncio.gather(*(one.claim(claim) for claim in claims))
        await asyncio.gather(*(one.settle(claim.event_id, "started", "w", "r") for claim in claims))
        after = datetime.now(UTC) + timedelta(days=1)
        assert sum(await asyncio.gather(one.purge(after), two.purge(after))) == 1500
    assert await _rows(store) == 0


async def test_status_can_say_how_much_the_ledger_knows(store: AsyncEngine, database_url: str, tmp_path: Path) -> None:
    async with Ledger(store) as ledger:
        await asyncio.gather(*(ledger.claim(_claim()) for _ in range(7)))
    assert await ledger_rows(Settings(database_url=database_url)) == 7
    assert await ledger_rows(Settings(database_url=f"sqlite+aiosqlite:///{tmp_path}/none.db")) == 0


async def test_the_error_of_a_locked_file_is_not_a_bug_of_ours(store: AsyncEngine) -> None:
    """What the other tests rest on: the lock above does hold writers up."""

    async def write() -> None:
        async with store.connect() as connection:
            sqlite = store.dialect.name == "sqlite"
            await connection.exec_driver_sql("PRAGMA busy_timeout=50" if sqlite else "SET statement_timeout = 50")
            await connection.execute(LEDGER.delete())

    async with _write_locked(store):
        with pytest.raises((OperationalError, StatementError)):
            await write()


async def test_dead_letters_are_counted_by_their_reason(store: AsyncEngine, database_url: str) -> None:
    buried = [
        Burial("t", 0, offset, None, reason, "m", "t.dlq", 0, offset, None) for offset, reason in enumerate(("invalid", "invalid", "x"))
    ]
    async with Ledger(store) as ledger:
        await asyncio.gather(*(ledger.bury(burial) for burial in buried))
        await ledger.bury(buried[0])  # dead-lettered again after a crash
    assert await dead_letters_by_reason(Settings(database_url=database_url)) == {"invalid": 2, "x": 1}
