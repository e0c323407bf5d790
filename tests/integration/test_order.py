"""Order per key, and nothing more: what waits holds back its own key alone, until the bound is reached."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from aiokafka import ConsumerRecord

from headrace import kafka, setup
from headrace.settings import Settings
from ingress import metrics
from ingress.decode import Event
from ingress.disposition import Duplicate, Started
from ingress.start import Starter
from schemas.errors import Transient
from schemas.routes import SHIPPED
from schemas.topics import Topics
from tests.support import ingress
from tests.support.eventually import eventually
from tests.support.ingress import fields, framed


@pytest_asyncio.fixture
async def ready(settings: Settings) -> Settings:
    await setup.run(settings, lambda _: None)
    return settings


class Starts:
    """Stands before the real starter: notes who begins and who ends, and holds keys back."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun: list[tuple[bytes | None, int]] = []
        self.ended: dict[bytes | None, list[int]] = defaultdict(list)
        self.at_once = 0
        self.most_at_once = 0
        self.held: dict[bytes, asyncio.Event] = {}
        self.fails: dict[int, int] = {}
        """How often the record at an offset is answered with `Transient` first."""
        real = Starter.start

        async def start(starter: Starter, record: ConsumerRecord, event: Event) -> Started | Duplicate:
            self.begun.append((record.key, record.offset))
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            try:
                if record.key in self.held:
                    await self.held[record.key].wait()
                if self.fails.get(record.offset, 0) > 0:
                    self.fails[record.offset] -= 1
                    raise Transient("not now")
                done = await real(starter, record, event)
                self.ended[record.key].append(record.offset)
                return done
            finally:
                self.at_once -= 1

        monkeypatch.setattr(Starter, "start", start)


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> Starts:
    return Starts(monkeypatch)


async def send(settings: Settings, *sent: tuple[bytes | None, UUID]) -> None:
    """All to one partition."""
    async with kafka.producer(settings, idempotent=True) as producer:
        topic = Topics(settings.topic_prefix).requests("image")
        for key, event_id in sent:
            await producer.send(topic, framed(fields(event_id=event_id)), key=key, partition=0)


def routed(settings: Settings, folder: Path, order: str) -> Settings:
    """With its routes in another order."""
    routes = settings.routes_file or SHIPPED
    text = routes.read_text("utf-8").replace('schema = "', f'schema = "{routes.parent}/')
    file = folder / "routes.toml"
    file.write_text(text.replace('task_queue = "', f'order = "{order}"\ntask_queue = "'), "utf-8")
    return settings.model_copy(update={"routes_file": file})


async def test_a_key_keeps_its_order_while_keys_run_side_by_side(ready: Settings, starts: Starts) -> None:
    keys = [b"key-%d" % (number % 10) for number in range(100)]
    starts.fails = {3: 2, 13: 1, 40: 1, 77: 2}
    await send(ready, *((key, uuid4()) for key in keys))
    async with ingress.running(ready):
        await eventually(lambda: sum(map(len, starts.ended.values())) == 100, timeout=40)
    for key in set(keys):
        assert starts.ended[key] == [offset for offset, each in enumerate(keys) if each == key]
    assert 1 < starts.most_at_once <= 10


async def test_a_key_that_waits_holds_no_other_back(ready: Settings, starts: Starts) -> None:
    starts.held[b"slow"] = asyncio.Event()
    sent: list[tuple[bytes | None, UUID]] = [(b"slow", uuid4()), (b"slow", uuid4())]
    sent += [(b"key-%d" % number, uuid4()) for number in range(50)] + [(None, uuid4()) for _ in range(10)]
    await send(ready, *sent)
    async with ingress.running(ready):
        await eventually(lambda: sum(map(len, starts.ended.values())) == 60, timeout=30)
        assert [offset for key, offset in starts.begun if key == b"slow"] == [0], "the second waits for the first"
        assert await ingress.lag(ready) == 62, "no commit passes the one that waits"
        starts.held[b"slow"].set()
        await eventually(lambda: starts.ended[b"slow"] == [0, 1], timeout=20)

        async def committed() -> bool:
            return await ingress.lag(ready) == 0

        await eventually(committed)


async def test_the_bound_is_reached_before_memory_is(ready: Settings, starts: Starts) -> None:
    starts.held[b"slow"] = asyncio.Event()
    await send(ready, *((b"slow", uuid4()) for _ in range(100)))
    async with ingress.running(ready.model_copy(update={"ingress_max_in_flight": 16})):
        await eventually(lambda: len(starts.begun) == 1, timeout=20)
        starts.held[b"slow"].set()
        await eventually(lambda: starts.ended[b"slow"] == list(range(100)), timeout=40)


async def test_order_by_partition_runs_one_at_a_time(ready: Settings, starts: Starts, tmp_path: Path) -> None:
    await send(ready, *((b"key-%d" % number, uuid4()) for number in range(30)))
    async with ingress.running(routed(ready, tmp_path, "partition")):
        await eventually(lambda: sum(map(len, starts.ended.values())) == 30, timeout=30)
    assert [offset for _, offset in starts.begun] == list(range(30))
    assert starts.most_at_once == 1


async def test_without_order_one_key_runs_side_by_side(ready: Settings, starts: Starts, tmp_path: Path) -> None:
    starts.held[b"hot"] = asyncio.Event()
    await send(ready, *((b"hot", uuid4()) for _ in range(20)))
    async with ingress.running(routed(ready, tmp_path, "none")):
        await eventually(lambda: starts.at_once == 20, timeout=20)
        starts.held[b"hot"].set()
        await eventually(lambda: len(starts.ended[b"hot"]) == 20, timeout=20)


async def test_a_process_that_gives_up_lets_nobody_pass_the_one_it_gave_up(ready: Settings, starts: Starts) -> None:
    starts.held[b"slow"] = asyncio.Event()
    await send(ready, *((b"slow", uuid4()) for _ in range(5)))
    async with ingress.running(ready.model_copy(update={"ingress_drain_seconds": 0.5})):
        await eventually(lambda: len(starts.begun) == 1, timeout=20)
    assert [offset for _, offset in starts.begun] == [0]
    starts.held[b"slow"].set()
    async with ingress.running(ready):
        await eventually(lambda: starts.ended[b"slow"] == [0, 1, 2, 3, 4], timeout=30)


async def test_large_records_in_flight_are_bounded_by_their_bytes(ready: Settings, starts: Starts) -> None:
    starts.held[b"hot"] = asyncio.Event()
    value = 8000  # bytes, about
    async with kafka.producer(ready, idempotent=True) as producer:
        topic = Topics(ready.topic_prefix).requests("image")
        for number in range(600):
            large = framed(fields(prompt="x" * 4000, negative_prompt="y" * 4000))
            await producer.send(topic, large, key=b"hot", partition=number % 6)
    bounded = ready.model_copy(update={"ingress_max_bytes": 1024 * 1024})
    async with ingress.running(bounded):
        await eventually(lambda: (metrics.IN_FLIGHT_BYTES._value.get() or 0) > 900_000, timeout=20)
        flights = metrics.IN_FLIGHT._value.get()
        assert metrics.IN_FLIGHT_BYTES._value.get() < 1024 * 1024 + 100 * value
        assert flights < 600
        starts.held[b"hot"].set()
        await eventually(lambda: len(starts.ended[b"hot"]) == 600, timeout=60)
