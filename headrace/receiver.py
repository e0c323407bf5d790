"""For a service that acts on completions: each one once, from where its group left off."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Protocol
from uuid import UUID

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import KafkaError

from headrace import kafka
from headrace.completions import Received, Seen, read
from headrace.settings import Settings
from headrace.wire import Wire
from schemas.topics import Topics

log = structlog.get_logger(__name__)

_POLL_MS = 500
_COMMIT_SECONDS = 1.0
_PATIENCE_SECONDS = 5.0


class Store(Protocol):
    """Which completions were handled, kept by the caller: a table of its own database, for example."""

    async def has(self, completion_id: UUID) -> bool: ...

    async def add(self, completion_id: UUID) -> None: ...


async def receive(
    settings: Settings, wire: Wire, domains: Sequence[str], group: str, *, store: Store | None = None
) -> AsyncGenerator[Received, None]:
    """Completions of the domains for a consumer group, for ever.

        async with contextlib.aclosing(receive(settings, wire, ["image"], "billing")) as completions:
            async for received in completions:
                await handle(received)

    Asking for the next one says that the one before is handled: its offset is committed within a second, and at once when the group is
    shared out anew or the generator is closed. What was not handled then is read again, by whoever has the partition next.

    A completion that Kafka holds twice (the same `completion_id`) is given once: among the last 100,000 that this process has read, and
    with a `store` among all that are in it. Without one a repeat that comes just after a restart is not known. Whoever must not act twice
    whatever happens writes `completion_id` in the same transaction as the act, with a unique key.

    A partition that the group reads for the first time is read from its oldest record. Only committed records are read. A record that is no
    completion is left out with a warning. Handling one may take up to five minutes; after that the group gives its partition away.

    Raises `aiokafka.errors.KafkaError` when Kafka does not answer at the start or a topic is missing, and `schemas.errors.Transient` while
    the schema registry is away; nothing is lost then: enter it again.
    """
    topics = [Topics(settings.topic_prefix).completions(domain) for domain in domains]
    await kafka.partitions(settings, topics)  # a missing topic is told now, and not waited for
    consumer = kafka.consumer(settings, group_id=group, isolation_level="read_committed", heartbeat_interval_ms=1000)
    handled = _Handled(consumer)
    consumer.subscribe(topics, listener=handled)
    seen = Seen()
    try:
        await consumer.start()
        while True:
            epoch, batch = await handled.fetch()
            for partition, records in batch.items():
                for record in records:
                    if handled.epoch != epoch:
                        break  # read again from the committed offset, here or elsewhere
                    received = await read(wire, record)
                    if received is not None and await _is_new(received, seen, store):
                        yield received
                        if store is not None:
                            await store.add(received.completion["completion_id"])
                    await handled.mark(epoch, partition, record.offset)
            await handled.commit_now_and_then()
    finally:
        with contextlib.suppress(KafkaError, TimeoutError):
            await handled.commit()
            await asyncio.wait_for(consumer.stop(), _PATIENCE_SECONDS)


async def _is_new(received: Received, seen: Seen, store: Store | None) -> bool:
    completion_id: UUID = received.completion["completion_id"]
    return seen.first_time(completion_id) and (store is None or not await store.has(completion_id))


class _Handled(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka is untyped
    """The offsets behind what was handled, and their commits."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._next: dict[TopicPartition, int] = {}
        self._committed_at = 0.0
        self.epoch = 0
        """Goes up when the partitions are shared out anew: records that were fetched before it are not ours any more."""

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:  # noqa: ARG002 - aiokafka gives all of them
        self.epoch += 1
        await self.commit()
        self._next.clear()

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None: ...

    async def fetch(self) -> tuple[int, dict[TopicPartition, list[Any]]]:
        """Records, and the epoch in which they were fetched: both read in one step of the event loop."""
        batch = await self._consumer.getmany(timeout_ms=_POLL_MS)
        return self.epoch, batch

    async def mark(self, epoch: int, partition: TopicPartition, offset: int) -> None:
        if epoch == self.epoch:
            self._next[partition] = offset + 1
        await self.commit_now_and_then()

    async def commit_now_and_then(self) -> None:
        if time.monotonic() - self._committed_at >= _COMMIT_SECONDS:
            await self.commit()

    async def commit(self) -> None:
        """One that Kafka does not take is made up for by the next; what is read again is known."""
        self._committed_at = time.monotonic()
        mine = self._consumer.assignment()
        offsets = {partition: offset for partition, offset in self._next.items() if partition in mine}
        if not offsets:
            return
        try:
            await asyncio.wait_for(self._consumer.commit(offsets), _PATIENCE_SECONDS)
        except (KafkaError, TimeoutError) as error:
            log.warning("completions_not_committed", error=repr(error))
            return
        for partition, offset in offsets.items():
            if self._next.get(partition) == offset:
                del self._next[partition]
