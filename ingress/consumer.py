"""The loop: reads, bounds what is in flight, commits finished prefixes, and hands partitions over without losing their place."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import KafkaError

from headrace.patience import Stopped, until_there
from ingress import metrics
from ingress.offsets import OffsetTracker
from ingress.pipeline import Work
from ingress.room import Room

log = structlog.get_logger(__name__)

T = TypeVar("T")

_COMMIT_EVERY_SECONDS = 0.5
_COMMIT_SECONDS = 5.0
_STOP_SECONDS = 10.0
_CANCEL_SECONDS = 1.0
_KEEP_ALIVE_SECONDS = 10.0
_POLL_MS, _POLL_SOME_MS = 200, 50
"""How long a fetch waits for records; less when not every partition is asked, for the others may have room meanwhile."""
_MAX_PENDING = 5000
"""Records of one partition behind an unfinished one: what is known of them is bounded by this, not by the backlog."""
_MAX_AT_ONCE = 500
"""Records taken between two looks at the event loop."""
_SMOOTHING = 16
_NOTHING = TopicPartition("-", 0)
"""Asking for this partition takes no records and tells Kafka that the consumer is alive."""


class Handler(Protocol):
    """`ingress.pipeline.Pipeline`."""

    def begin(self, record: ConsumerRecord) -> Work: ...
    async def dispose(self, work: Work) -> None: ...


class Stops(Protocol):
    """`ingress.breaker.Breakers`."""

    def stopped_topics(self) -> frozenset[str]: ...


@dataclass(frozen=True, slots=True)
class Bounds:
    """What may be in flight; of their bytes the room says it."""

    records: int
    """Without a disposition."""
    drain_seconds: float

    @property
    def records_of_a_partition(self) -> int:
        """A partition that waits leaves room to the others."""
        return max(1, self.records // 4)


class Consumer(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka ships no types
    """Gives every record of the topics to the handler; a record that it does not finish is read again by whoever has it next."""

    def __init__(self, kafka: AIOKafkaConsumer, topics: list[str], handler: Handler, stops: Stops, bounds: Bounds, room: Room) -> None:
        self._kafka = kafka
        self._topics = topics
        self._handler = handler
        self._stops = stops
        self._bounds = bounds
        self._room = room
        self._trackers: dict[TopicPartition, OffsetTracker] = {}
        self._tasks: dict[asyncio.Task[None], Work] = {}
        self._usual_size = 16 * 1024.0
        """Of a record, smoothed: a fetch is counted in records."""
        self._ended_some = asyncio.Event()
        """Set when a record has ended since it was cleared."""
        self._epoch = 0
        self._stopping = asyncio.Event()
        self._committing = asyncio.Lock()
        self._failure: Exception | None = None
        self.assigned = False
        """Whether the group has given it its partitions, which may be none."""
        self.started = False
        self.polls = 0
        """Grows as long as the loop turns."""

    @property
    def ready(self) -> bool:
        """Whether it is in its group and polls."""
        return self.assigned and not self._stopping.is_set()

    def stop(self) -> None:
        self._stopping.set()

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Takes nothing new, finishes what is in flight, commits: the next owner begins where this one ended."""
        # No suspension point before this line: records of the old assignment are not begun any more.
        self._epoch += 1
        self.assigned = False
        await self._drain()
        await self._commit()
        # What finishes later finishes in a tracker that nobody commits.
        self._trackers.clear()
        if revoked:
            log.info("partitions_revoked", partitions=_names(revoked))

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self.assigned = True
        metrics.REBALANCES.inc()
        log.info("partitions_assigned", partitions=_names(assigned))

    async def run(self) -> None:
        """Returns after `stop`. Raises what a handler raised: its record's offset is not committed."""
        committer: asyncio.Task[None] | None = None
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            self._kafka.subscribe(self._topics, listener=self)
            await until_there("kafka", self._kafka.start, self._stopping)
            self.started = True
            committer = asyncio.create_task(self._commit_now_and_then())
            while not self._stopping.is_set():
                self.polls += 1
                partitions, most = self._wanted()
                if not most:
                    await self._wait_for_room(stopped)
                    continue
                # getmany ignores its time-out during a rebalance and is not woken by stop().
                fetched = await self._unless_stopped(self._fetch(partitions, most), stopped)
                if fetched is None:
                    break
                self._take(*fetched)
        except Stopped:
            return
        finally:
            self.started = self.assigned = False
            self._stopping.set()
            stopped.cancel()
            await self._leave(committer)
        if self._failure is not None:
            raise self._failure

    def _wanted(self) -> tuple[list[TopicPartition], int]:
        """The partitions to fetch from, none of them meaning all, and how many records at the most; 0 when there is no room."""
        # References that wait are nothing but their places: while S3 is away they must not keep everything else out.
        most = self._bounds.records - (len(self._tasks) - self._room.waiting)
        # Not one by one: a fetch costs the same for one record as for many.
        if self._room.left <= 0 or most < max(1, self._bounds.records // 16):
            return [], 0
        most = min(most, _MAX_AT_ONCE, 1 + int(self._room.left / self._usual_size))
        mine, stopped = self._kafka.assignment(), self._stops.stopped_topics()
        wanted = [partition for partition in mine if partition.topic not in stopped and self._has_room(partition)]
        if len(wanted) == len(mine):
            return [], most
        return wanted, most if wanted else 0

    def _has_room(self, partition: TopicPartition) -> bool:
        tracker = self._trackers.get(partition)
        return tracker is None or (tracker.in_flight < self._bounds.records_of_a_partition and tracker.pending < _MAX_PENDING)

    async def _wait_for_room(self, stopped: asyncio.Task[Any]) -> None:
        self._ended_some.clear()
        room = asyncio.create_task(self._ended_some.wait())
        # For a second at the most: a route that is resumed makes room as well.
        await asyncio.wait({room, stopped}, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
        room.cancel()
        await self._unless_stopped(self._kafka.getmany(_NOTHING, timeout_ms=0), stopped)

    async def _fetch(self, partitions: list[TopicPartition], most: int) -> tuple[int, dict[TopicPartition, list[ConsumerRecord]]]:
        batch = await self._kafka.getmany(*partitions, timeout_ms=_POLL_SOME_MS if partitions else _POLL_MS, max_records=most)
        # Read in the same step in which getmany returns: a rebalance after it makes these records somebody else's.
        return self._epoch, batch

    def _take(self, epoch: int, batch: dict[TopicPartition, list[ConsumerRecord]]) -> None:
        if epoch != self._epoch:
            return
        for partition, records in batch.items():
            tracker = self._trackers.setdefault(partition, OffsetTracker())
            for record in records:
                tracker.begin(record.offset, record.timestamp)
                size = _size(record)
                self._room.add(size)
                self._usual_size += (size - self._usual_size) / _SMOOTHING
                work = self._handler.begin(record)
                task = asyncio.create_task(self._handle(tracker, work))
                self._tasks[task] = work
                task.add_done_callback(self._ended)

    async def _handle(self, tracker: OffsetTracker, work: Work) -> None:
        try:
            await self._handler.dispose(work)
            tracker.finish(work.record.offset)
        except Exception as error:  # noqa: BLE001 - a record that never finishes would hold the commits back silently: the process ends
            self._failure = self._failure or error
            self._stopping.set()

    def _ended(self, task: asyncio.Task[None]) -> None:
        # Here and not in the task: one that is cancelled before its first step never runs, and its key would wait for it for ever.
        work = self._tasks.pop(task)
        self._room.remove(_size(work.record))
        if work.load is not None:
            work.load.leave()
        if task.cancelled():
            work.turn.leave()
        self._ended_some.set()

    async def _drain(self) -> None:
        """Waits for what is begun, and gives up the rest, which is read again by its next owner."""
        deadline = time.monotonic() + self._bounds.drain_seconds
        while self._tasks and time.monotonic() < deadline:
            for task, work in self._tasks.items():
                if not work.begun:
                    task.cancel()
            await asyncio.wait(set(self._tasks), timeout=0.1)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            log.warning("records_given_up", count=len(self._tasks))
            await asyncio.wait(set(self._tasks), timeout=_CANCEL_SECONDS)

    async def _commit_now_and_then(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _COMMIT_EVERY_SECONDS)
            await self._commit()
            self._measure()

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
                metrics.COMMIT_FAILURES.inc()
                log.warning("commit_failed", error=repr(error))  # safe: what is read again is a duplicate
                return
            for tracker, offset in due.values():
                tracker.committed = offset

    def _measure(self) -> None:
        metrics.IN_FLIGHT.set(len(self._tasks))
        metrics.IN_FLIGHT_BYTES.set(self._room.used)
        for gauge in (metrics.LAG_RECORDS, metrics.LAG_SECONDS, metrics.COMMIT_GAP):
            gauge.clear()  # of partitions that are another process's now
        now = time.time() * 1000
        for partition in self._kafka.assignment():
            labels, end, tracker = (
                (partition.topic, str(partition.partition)),
                self._kafka.highwater(partition),
                self._trackers.get(partition),
            )
            if tracker is None or end is None:
                continue
            metrics.LAG_RECORDS.labels(*labels).set(max(0, end - tracker.position))
            metrics.LAG_SECONDS.labels(*labels).set(0 if tracker.oldest is None else max(0.0, now - tracker.oldest) / 1000)
            metrics.COMMIT_GAP.labels(*labels).set(tracker.gap)

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


def _size(record: ConsumerRecord) -> int:
    return len(record.value or b"") + len(record.key or b"")


def _names(partitions: set[TopicPartition]) -> list[str]:
    return sorted(f"{partition.topic}-{partition.partition}" for partition in partitions)
