"""The stage of one run: its topics, its group, its database, and the processes that share them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from aiokafka import TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError
from sqlalchemy.ext.asyncio import AsyncEngine

from headrace import kafka
from headrace.settings import Settings
from headrace.store import migrate
from headrace.store.engine import engine
from schemas.topics import Topics
from tests.faults.checker import Violation
from tests.faults.history import Snapshot
from tests.faults.load import MAX_PAYLOAD_BYTES
from tests.faults.members import Members, environment
from tests.faults.observe import Reader
from tests.faults.plan import Plan
from tests.faults.world import World
from tests.support.eventually import eventually

SESSION_SECONDS = 2.0
"""After a kill the group waits this long for the dead."""
_DLQ_CONFIG = {"max.message.bytes": str(kafka.MAX_RECORD_BYTES), "retention.ms": "-1"}


@dataclass
class Stage:
    """Made by `stage`."""

    world: World
    plan: Plan
    settings: Settings
    members: Members
    engine: AsyncEngine
    reader: Reader
    snapshots: list[Snapshot] = field(default_factory=list)
    found: list[Violation] = field(default_factory=list)
    forgotten: frozenset[str] = frozenset()
    has_dead_letters: bool = False
    looking: asyncio.Lock = field(default_factory=asyncio.Lock)
    since: float = field(default_factory=time.time)
    began: float = field(default_factory=time.monotonic)

    @property
    def topics(self) -> Topics:
        return Topics(self.settings.topic_prefix)

    @property
    def read(self) -> list[TopicPartition]:
        """What the ingress reads."""
        return self.partitions(self.topics.requests("image"), self.topics.commands)

    @property
    def dead_letters(self) -> list[str]:
        return [self.topics.dead_letters(topic) for topic in (self.topics.requests("image"), self.topics.commands)]

    def partitions(self, *topics: str) -> list[TopicPartition]:
        return [TopicPartition(topic, number) for topic in topics for number in range(self.plan.load.partitions)]

    async def make_dead_letters(self) -> None:
        await _until_kafka_takes(lambda: self.make_topics(*self.dead_letters))
        self.has_dead_letters = True

    async def make_topics(self, *names: str) -> None:
        client = kafka.admin(self.settings)
        await client.start()
        try:
            new = [NewTopic(name, self.plan.load.partitions, 1, topic_configs=_DLQ_CONFIG) for name in names]
            answers = (await client.create_topics(new)).topic_errors
            assert all(code == 0 for _, code, *_ in answers), answers
        finally:
            await client.close()

    async def limit_dead_letters(self, size: int | None) -> None:
        """Kafka refuses dead letters of more bytes than this."""
        await _until_kafka_takes(lambda: self._configure({} if size is None else {"max.message.bytes": str(size)}))

    async def _configure(self, changed: dict[str, str]) -> None:
        client = kafka.admin(self.settings)
        try:
            await client.start()
            configs = {**_DLQ_CONFIG, **changed}
            resources = [ConfigResource(ConfigResourceType.TOPIC, topic, configs=configs) for topic in self.dead_letters]
            for answer in await client.alter_configs(resources):
                assert all(code == 0 for code, *_ in answer.resources), answer
        finally:
            await client.close()


async def _until_kafka_takes(change: Callable[[], Awaitable[None]]) -> None:
    """Kafka may be away by another fault."""

    async def taken() -> bool:
        try:
            async with asyncio.timeout(5):
                await change()
        except (KafkaError, OSError, TimeoutError, AssertionError):
            return False
        return True

    await eventually(taken, timeout=40, interval=0.2)


@contextlib.asynccontextmanager
async def stage(world: World, drawn: Plan, name: str, folder: Path) -> AsyncIterator[Stage]:
    url = behind = f"sqlite+aiosqlite:///{folder}/headrace.db"
    if drawn.postgresql:
        url, behind = await world.postgresql(name)
    settings = world.settings(name, url)
    store = engine(settings.database_url)
    world.calls.forget()
    given = environment(
        world.environment,
        HEADRACE_STATE_DIR=str(folder / "nowhere"),
        TEMPORAL_ADDRESS=f"127.0.0.1:{world.network.port}",
        HEADRACE_DATABASE_URL=behind,
        HEADRACE_TOPIC_PREFIX=settings.topic_prefix,
        HEADRACE_INGRESS_GROUP=settings.ingress_group,
        HEADRACE_INGRESS_SESSION_SECONDS=str(SESSION_SECONDS),
        HEADRACE_INGRESS_DRAIN_SECONDS="2",
        HEADRACE_INGRESS_START_SECONDS="3",
        HEADRACE_INGRESS_COMMAND_WAIT_SECONDS=str(drawn.load.command_wait_seconds),
        HEADRACE_TEMPORAL_MAX_PAYLOAD_BYTES=str(MAX_PAYLOAD_BYTES),
        HEADRACE_BREAKER_CONSECUTIVE="100000",  # bad records are drawn: no route is to be stopped for them
        HEADRACE_BREAKER_SHARE="1",
        HEADRACE_BREAKER_WINDOW="100000",
    )
    members = Members(folder, given)
    try:
        await migrate.upgrade(store)
        async with Reader.of(settings) as reader:
            made = Stage(world, drawn, settings, members, store, reader)
            names = [made.topics.requests("image"), made.topics.completions("image"), made.topics.commands]
            made.has_dead_letters = all(fault.name != "dlq-missing" for fault in drawn.faults)
            await made.make_topics(*names, *(made.dead_letters if made.has_dead_letters else []))
            yield made
        await _remove_topics(settings)
    finally:
        for member in members.alive():
            await members.kill(member)
        await store.dispose()


async def _remove_topics(settings: Settings) -> None:
    """Hundreds of runs share one broker."""
    client = kafka.admin(settings)
    with contextlib.suppress(KafkaError):
        await client.start()
        await client.delete_topics([name for name in await client.list_topics() if name.startswith(settings.topic_prefix)])
    await client.close()
