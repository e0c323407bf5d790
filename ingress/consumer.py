"""The loop: reads, bounds what is in flight, commits finished prefixes, and hands partitions over without losing their place."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import KafkaError

from headrace.patience import Stopped, until_there
from ingress import metrics
from ingress.offsets import OffsetTracker

log = structlog.get_logger(__name__)

T = TypeVar("T")
Handler = Callable[[ConsumerRecord, asyncio.Event], Awaitable[bool]]

_COMMIT_EVERY_SECONDS = 0.5
_COMMIT_SECONDS = 5.0
_STOP_SECONDS = 10.0
_KEEP_ALIVE_SECONDS = 30.0
_MAX_PENDING = 5000
"""Records of one partition behind an unfinished one: memory is bounded by this, not by the backlog."""
_NOTHING = TopicPartition("-", 0)
"""Asking for this partition takes no records and tells Kafka that the consumer is alive."""


class Consumer(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka ships no types
    """Runs the handler on every record of the topics; a record whose handler says False is read again by whoever has it next."""

    def __init__(self, kafka: AIOKafkaConsumer, topics: list[str], handler: Handler, *, max_in_flight: int, drain_seconds: float) -> None:
        self._kafka = kafka
        self._topics = topics
        self._handler = handler
        self._room = asyncio.Semaphore(max_in_flight)
        self._max_in_flight = max_in_flight
        self._drain_seconds = drain_seconds
        self._trackers: dict[TopicPartition, OffsetTracker] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._epoch = 0
        self._given_up = asyncio.Event()
        self._stopping = asyncio.Event()
        self._committing = asyncio.Lock()
        self._failure: Exception | None = None
        self.ready = False
        """Whether it is in its group and polls."""

    def stop(self) -> None:
        self._stopping.set()

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Takes nothing new, finishes what is in flight, commits: the next owner begins where this one ended."""
        # No suspension point before this line: records of the old assignment are not begun any more.
        self._epoch += 1
        await self._drain()
        await self._commit()
        # What finishes later finishes in a tracker that nobody commits.
        self._trackers.clear()
        if revoked:
            log.info("partitions_revoked", partitions=_names(revoked))

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self.ready = True
        log.info("partitions_assigned", partitions=_names(assigned))

    async def run(self) -> None:
        """Returns after `stop`. Raises what a handler raised: its record's offset is not committed."""
        committer: asyncio.Task[None] | None = None
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            self._kafka.subscribe(self._topics, listener=self)
            await until_there("kafka", self._kafka.start, self._stopping)
            committer = asyncio.create_task(self._commit_now_and_then())
            while not self._stopping.is_set():
                # getmany ignores its time-out during a rebalance and is not woken by stop().
                fetched = await self._unless_stopped(self._fetch(), stopped)
                if fetched is None:
                    break
                await self._take(*fetched, stopped)
        except Stopped:
            return
        finally:
            self.ready = False
            self._stopping.set()
            stopped.cancel()
            await self._leave(committer)
        if self._failure is not None:
            raise self._failure

    async def _fetch(self) -> tuple[int, dict[TopicPartition, list[ConsumerRecord]]]:
        batch = await self._kafka.getmany(timeout_ms=200, max_records=self._max_in_flight)
        # Read in the same step in which getmany returns: a rebalance after it makes these records somebody else's.
        return self._epoch, batch

    async def _take(self, epoch: int, batch: dict[TopicPartition, list[ConsumerRecord]], stopped: asyncio.Task[Any]) -> None:
        for partition, records in batch.items():
            for record in records:
                tracker = self._trackers.get(partition)
                if epoch != self._epoch:
                    return
                if tracker is None:
                    tracker = self._trackers[partition] = OffsetTracker()
                if not await self._has_room(tracker, epoch, stopped):
                    return
                tracker.begin(record.offset)
                metrics.IN_FLIGHT.inc()
                task = asyncio.create_task(self._handle(tracker, record))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _has_room(self, tracker: OffsetTracker, epoch: int, stopped: asyncio.Task[Any]) -> bool:
        """Waits for a place in flight; False when the partitions have changed or the end has come. With True the place is taken."""
        while epoch == self._epoch and not self._stopping.is_set():
            if tracker.pending < _MAX_PENDING:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._room.acquire(), _KEEP_ALIVE_SECONDS)
                    if epoch == self._epoch and not self._stopping.is_set():
                        return True
                    self._room.release()
                    return False
            else:
                await asyncio.sleep(0.05)
            await self._unless_stopped(self._kafka.getmany(_NOTHING, timeout_ms=0), stopped)
        return False

    async def _handle(self, tracker: OffsetTracker, record: ConsumerRecord) -> None:
        try:
            if await self._handler(record, self._given_up):
                tracker.finish(record.offset)
        except Exception as error:  # noqa: BLE001 - a record that never finishes would hold the commits back silently: the process ends
            self._failure = self._failure or error
            self._stopping.set()
        finally:
            metrics.IN_FLIGHT.dec()
            self._room.release()

    async def _drain(self) -> None:
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=self._drain_seconds)
        if self._tasks:
            # What still waits for a part that is away is given up here and read again by its next owner.
            self._given_up.set()
            await asyncio.wait(set(self._tasks), timeout=1.0)
            self._given_up = asyncio.Event()

    async def _commit_now_and_then(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _COMMIT_EVERY_SECONDS)
            await self._commit()

    async def _commit(self) -> None:
        # Never two in flight: the older one could win.
        async with self._committing:
            mine = self._kafka.assignment()  # one lost partition makes aiokafka refuse the whole commit
            due = {
                partition: (tracker, tracker.next)
                for partition, tracker in self._trackers.items()
                if tracker.next > tracker.committed and partition in mine
            }
            if not due:
                return
            try:
                # Without a broker commit() tries for ever.
                await asyncio.wait_for(self._kafka.commit({partition: offset for partition, (_, offset) in due.items()}), _COMMIT_SECONDS)
            except (KafkaError, TimeoutError) as error:
                log.warning("commit_failed", error=repr(error))  # safe: what is read again is a duplicate
                return
            for tracker, offset in due.values():
                tracker.committed = offset

    async def _leave(self, committer: asyncio.Task[None] | None) -> None:
        if committer is not None:
            await committer
        await self._drain()
        if committer is not None:
            await self._commit()
        # With the broker away stop() lets CancelledError out and skips the closing of its client.
        with contextlib.suppress(asyncio.CancelledError, TimeoutError, Exception):
            await asyncio.wait_for(self._kafka.stop(), _STOP_SECONDS)
        with contextlib.suppress(Exception):
            await self._kafka._client.close()  # noqa: SLF001 - see above

    async def _unless_stopped(self, work: Coroutine[Any, Any, T], stopped: asyncio.Task[Any]) -> T | None:
        """The result of `work`, None when the end comes first."""
        task = asyncio.ensure_future(work)
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, KafkaError):
            await task
        return None


def _names(partitions: set[TopicPartition]) -> list[str]:
    return sorted(f"{partition.topic}-{partition.partition}" for partition in partitions)
