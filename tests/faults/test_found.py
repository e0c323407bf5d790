"""What the chaos suite has found, each failure by itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from aiokafka import TopicPartition

from headrace.store import migrate
from headrace.store.engine import engine
from ingress.breaker import Ticket
from ingress.consumer import Bounds, Consumer
from ingress.lanes import Lanes
from ingress.ledger import Claim, Ledger
from ingress.pipeline import Work
from ingress.room import Room
from tests.support.eventually import eventually

PARTITION = TopicPartition("t", 0)


class InLanes:
    """A handler that does nothing but wait for its turn."""

    def __init__(self) -> None:
        self.lanes = Lanes()
        self.disposed: list[int] = []

    def begin(self, record: Any) -> Work:
        return Work(record, None, self.lanes.enter([record.key]), Ticket("r", "t", 0))

    async def dispose(self, work: Work) -> None:
        await work.turn.come()
        self.disposed.append(work.record.offset)
        work.turn.leave()


class NothingStops:
    def stopped_topics(self) -> frozenset[str]:
        return frozenset()


async def test_a_record_given_up_before_its_first_step_does_not_block_its_key_for_ever() -> None:
    """A rebalance in the moment between fetching and the task's first step: the task is cancelled and its code never runs."""
    handler = InLanes()
    consumer = Consumer(None, ["t"], handler, NothingStops(), Bounds(records=100, drain_seconds=1.0), room := Room(1000, 25))
    record = SimpleNamespace(offset=0, key=b"k", value=b"v", timestamp=0)
    consumer._take(0, {PARTITION: [record]})
    consumer._epoch = 1
    await consumer._drain()
    assert len(handler.lanes) == 0
    assert room.used == 0

    consumer._take(1, {PARTITION: [record]})
    async with asyncio.timeout(5):
        await asyncio.gather(*consumer._tasks)
    assert handler.disposed == [0]


async def test_a_claim_given_up_while_the_database_is_away_does_not_come_back_over_the_next_owners_row(tmp_path: Path) -> None:
    """The next owner had dead-lettered the record; the stale claim made its row pending again, and nobody was left to settle it."""
    claim = Claim(uuid4(), "r", bytes(32), "t", 0, 0)
    store = engine(f"sqlite+aiosqlite:///{tmp_path}/headrace.db")
    async with Ledger(store) as before, Ledger(store) as after:
        given_up = asyncio.create_task(before.claim(claim))
        await eventually(lambda: not before.healthy)  # the tables are not there yet
        given_up.cancel()
        await asyncio.wait({given_up})
        await migrate.upgrade(store)
        await after.claim(claim)
        await after.settle(claim.event_id, "rejected", None, None)
        await eventually(lambda: before.healthy)
        entry = await before.find(claim.event_id)
    await store.dispose()
    assert entry is not None
    assert entry.disposition == "rejected"
