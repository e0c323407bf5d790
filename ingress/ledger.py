"""The ledger: one row for each event ID, written before its start and completed after it.

It knows an event when Temporal's retention has passed, the group's offsets were reset or the topic was made anew. Calls are gathered: a
transaction for each would cost more than the start.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import structlog
from prometheus_client import Counter, Gauge, Histogram
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError, StatementError
from sqlalchemy.ext.asyncio import AsyncEngine

from headrace.store.away import why
from headrace.store.dedicated import dedicated
from ingress.ledger_rows import Burial, Claim, Entry, Settlement, purge, rows

__all__ = ["Burial", "Claim", "Entry", "Ledger"]

CLAIMS = Counter("headrace_ingress_ledger_claims", "Claims answered.")
HITS = Counter("headrace_ingress_ledger_hits", "Claims of events that had their row.")
REMOVED = Counter("headrace_ingress_ledger_removed", "Rows removed because of their age.")
HEALTHY = Gauge("headrace_ingress_ledger_healthy", "0 while the database does not answer.")
FLUSH_SECONDS = Histogram(
    "headrace_ingress_ledger_flush_seconds", "One transaction.", buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5)
)
FLUSH_CALLS = Histogram("headrace_ingress_ledger_flush_calls", "Calls in one transaction.", buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500))

# A transaction costs about half a millisecond of CPU however small. A start waits for its claim, so claims are gathered for a moment only,
# which a backlog fills; nobody but the next commit waits for a settlement.
_GATHER_SECONDS = 0.002
_GATHER_SETTLEMENTS_SECONDS = 0.005
_MOST_CALLS = 500
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_CLOSE_SECONDS = 3.0
_PURGE_SECONDS = 60.0
_PURGE_ROWS = 1000  # the write lock is held for some 20 ms
_PURGE_PAUSE = 0.1
_NOBODY = UUID(int=0)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Find:
    event_id: UUID


@dataclass(frozen=True, slots=True)
class _Purge:
    before: datetime


@dataclass(slots=True, eq=False)
class _Call:
    what: Claim | Settlement | Burial | _Find | _Purge
    done: asyncio.Future[Any]


def _now() -> datetime:
    return datetime.now(UTC)


class Ledger:
    """Calls take effect in their order, wait while the database is away, and may be cancelled at any time.

    A call that is cancelled early enough has no effect; one that is being written has it.
    """

    def __init__(self, engine: AsyncEngine, *, days: float | None = None, now: Callable[[], datetime] = _now) -> None:
        self._connection = dedicated(engine)
        self._rows = rows(engine.dialect)
        self._days = days
        self._now = now
        self._queue: deque[_Call] = deque()
        self._batch: list[_Call] = []
        self._queued = asyncio.Event()
        self._urgent = asyncio.Event()
        """Set while something is queued for which more than a commit waits."""
        self._tasks: list[asyncio.Task[None]] = []
        self._healthy = True
        HEALTHY.set(1)

    async def __aenter__(self) -> Self:
        self._tasks.append(asyncio.create_task(self._write(), name="ledger"))
        if self._days is not None:
            self._tasks.append(asyncio.create_task(self._purge_for_ever(timedelta(days=self._days)), name="ledger-purge"))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Ends within seconds, also while the database hangs. What waits is cancelled."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=_CLOSE_SECONDS)
        for call in (*self._batch, *self._queue):
            call.done.cancel()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._connection.close(), _CLOSE_SECONDS)

    @property
    def healthy(self) -> bool:
        """False while the database does not answer."""
        return self._healthy

    async def claim(self, claim: Claim) -> Entry:
        """The event's row as it is then: the claim's own, or of whoever was first. A rejected event is there to be claimed."""
        entry: Entry = await self._put(claim)
        return entry

    async def settle(self, event_id: UUID, disposition: str, workflow_id: str | None, run_id: str | None) -> None:
        """Completes a pending row; leaves one that is settled as it is."""
        await self._put(Settlement(event_id, disposition, workflow_id, run_id))

    async def bury(self, burial: Burial) -> None:
        """Keeps where a dead letter is; of a record that is dead-lettered once more, where the last one is."""
        await self._put(burial)

    async def find(self, event_id: UUID) -> Entry | None:
        entry: Entry | None = await self._put(_Find(event_id))
        return entry

    async def purge(self, before: datetime) -> int:
        """Removes the settled rows that were claimed before a moment; how many it were."""
        removed = 0
        while True:
            chunk: int = await self._put(_Purge(before))
            removed += chunk
            if chunk < _PURGE_ROWS:
                return removed
            await asyncio.sleep(_PURGE_PAUSE)  # claims go between

    async def _put(self, what: Claim | Settlement | Burial | _Find | _Purge) -> Any:
        if not self._tasks:
            raise RuntimeError("the ledger is closed")
        call = _Call(what, asyncio.get_running_loop().create_future())
        self._queue.append(call)
        self._queued.set()
        if not isinstance(what, Settlement | Burial):
            self._urgent.set()
        return await call.done

    async def _write(self) -> None:
        last = -_GATHER_SETTLEMENTS_SECONDS
        while True:
            if not self._queue:
                self._queued.clear()
                await self._queued.wait()
            # What was left behind when a batch was full does not wait.
            if len(self._queue) < _MOST_CALLS:
                await self._gather(last)
            self._batch = self._take()
            if not self._queue:
                self._urgent.clear()
            if self._batch:
                last = time.monotonic()
                await self._flush_until_done()
            self._batch = []

    async def _gather(self, last: float) -> None:
        """Waits for more calls; `last` is when the transaction before began."""
        if not self._urgent.is_set() and (pause := last + _GATHER_SETTLEMENTS_SECONDS - time.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._urgent.wait(), pause)
        if (pause := last + _GATHER_SECONDS - time.monotonic()) > 0:
            await asyncio.sleep(pause)

    def _take(self) -> list[_Call]:
        """The next calls that may share a transaction. A settlement and a claim of one event may not: their order would be lost."""
        taken: list[_Call] = []
        settled: set[UUID] = set()
        others: set[UUID] = set()
        while self._queue and len(taken) < _MOST_CALLS:
            call = self._queue[0]
            if not call.done.done():  # else it was cancelled
                what = call.what
                if isinstance(what, _Purge):
                    if not taken:
                        taken.append(self._queue.popleft())
                    break
                if isinstance(what, Burial):  # of no event's row
                    taken.append(self._queue.popleft())
                    continue
                own, foreign = (settled, others) if isinstance(what, Settlement) else (others, settled)
                if what.event_id in foreign:
                    break
                own.add(what.event_id)
                taken.append(call)
            self._queue.popleft()
        return taken

    async def _flush_until_done(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            begun = time.monotonic()
            try:
                await self._flush()
            except (SQLAlchemyError, OSError, TimeoutError) as error:
                if _is_in_a_row(error):
                    self._fail(error)
                    return
                self._set_healthy(False, error)
            except Exception as error:  # noqa: BLE001 - whoever waits for it has to decide
                self._fail(error)
                return
            else:
                FLUSH_SECONDS.observe(time.monotonic() - begun)
                FLUSH_CALLS.observe(len(self._batch))
                self._set_healthy(True)
                return
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - spreads processes, keeps no secret
            pause = min(2 * pause, _LONGEST_PAUSE)
            # What was given up meanwhile is somebody else's now: a late claim would make pending again what they have settled.
            # Something is still asked for, to see when the database is back.
            alive = [call for call in self._batch if not call.done.done()]
            self._batch = alive or [_Call(_Find(_NOBODY), asyncio.get_running_loop().create_future())]

    async def _flush(self) -> None:
        first = self._batch[0].what
        if isinstance(first, _Purge):
            removed = await self._connection.run(partial(purge, before=first.before, at_most=_PURGE_ROWS))
            REMOVED.inc(removed)
            _answer(self._batch[0], removed)
            return
        claims = [call.what for call in self._batch if isinstance(call.what, Claim)]
        settlements = [call.what for call in self._batch if isinstance(call.what, Settlement)]
        burials = [call.what for call in self._batch if isinstance(call.what, Burial)]
        finds = [call.what.event_id for call in self._batch if isinstance(call.what, _Find)]
        now = self._now()
        entries, new = await self._connection.run(lambda connection: self._rows.apply(connection, claims, settlements, finds, burials, now))
        CLAIMS.inc(len(claims))
        HITS.inc(len(claims) - new)
        for call in self._batch:
            what = call.what
            _answer(
                call, entries[what.event_id] if isinstance(what, Claim) else entries.get(what.event_id) if isinstance(what, _Find) else None
            )

    def _fail(self, error: Exception) -> None:
        for call in self._batch:
            if not call.done.done():
                call.done.set_exception(error)

    def _set_healthy(self, healthy: bool, error: Exception | None = None) -> None:
        if healthy == self._healthy:
            return
        self._healthy = healthy
        HEALTHY.set(healthy)
        if healthy:
            log.info("ledger_is_back")
        else:
            log.warning("ledger_waits", error=error and why(error), calls=len(self._batch) + len(self._queue))

    async def _purge_for_ever(self, age: timedelta) -> None:
        while True:
            try:
                if removed := await self.purge(self._now() - age):
                    log.info("ledger_rows_removed", rows=removed, days=self._days)
            except Exception:
                log.exception("ledger_not_purged")
            await asyncio.sleep(_PURGE_SECONDS)


def _answer(call: _Call, value: object) -> None:
    if not call.done.done():
        call.done.set_result(value)


def _is_in_a_row(error: Exception) -> bool:
    """Whether a value cannot be written: it never can, however often it is tried."""
    if isinstance(error, DataError | IntegrityError):
        return True
    if isinstance(error, DBAPIError):
        state = getattr(error.orig, "sqlstate", None) or ""
        cause = error.orig.__cause__ if error.orig else None  # asyncpg cannot encode a value: an InterfaceError, but a ValueError too
        return state.startswith(("22", "23")) or isinstance(cause, ValueError | TypeError)
    return isinstance(error, StatementError)
