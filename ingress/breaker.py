"""A flood of dead letters stops its route instead of draining the topic into them.

A route that is stopped here is stopped in every process: its row in the table `breakers` says so, until `headrace route resume` removes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Self

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from headrace import breakers
from headrace.breakers import StoppedRoute
from headrace.store.away import why
from ingress import metrics
from schemas.errors import Reason, bounded

log = structlog.get_logger(__name__)

_LONGEST_PAUSE = 10.0
_ANSWER_SECONDS = 15.0
"""For one look at the table; longer than SQLite waits for a lock."""
_START_SECONDS, _STOP_SECONDS = 3.0, 5.0
_MAX_CAUSE = 400


class Breaker:
    """The last records of one route, in the order in which they were read: so many dead letters in a row, or such a share, trip it.

    Records come to their ends in another order (a bad one at once, a good one when Temporal has answered), so the end of each is noted at
    its own place. One that has not ended yet counts as good. `capacity` is how many may be between the first without an end and the last.
    Only a dead letter trips it, and only once until `reset`.
    """

    def __init__(self, *, window: int, share: float, consecutive: int, capacity: int) -> None:
        self._window = window
        self._many = max(1, math.ceil(share * window - 1e-9))  # 0.07 * 100 is a little more than 7
        self._consecutive = consecutive
        self._size = capacity + window + consecutive
        self._dead = bytearray(self._size)
        """1 for a dead letter, at the record's number modulo the size."""
        self._entered = 0
        self._last = -1
        """The number of the last record that is known to be a dead letter."""
        self._tripped = False

    def enter(self) -> int:
        """A record was read; its number."""
        number = self._entered
        self._entered += 1
        self._dead[number % self._size] = 0
        return number

    def dead_lettered(self, number: int) -> str | None:
        """The record is to be dead-lettered; a sentence when this one trips the breaker."""
        if number <= self._entered - self._size:
            return None  # its place is another record's since
        self._dead[number % self._size] = 1
        self._last = max(self._last, number)
        if self._tripped:
            return None
        if self._row(number) >= self._consecutive:
            self._tripped = True
            return f"{self._consecutive} dead letters in a row"
        begin = self._last + 1 - self._window
        if begin >= 0 and self._count(begin) >= self._many:
            self._tripped = True
            return f"{self._count(begin)} dead letters among {self._window} records"
        return None

    def reset(self) -> None:
        """Begins afresh: what was before does not count, but for records that were held back and are dead-lettered now."""
        self._dead = bytearray(self._size)
        self._tripped = False

    def _row(self, number: int) -> int:
        """How many dead letters there are side by side around this one, counted as far as needed."""
        first = last = number
        while last - first + 1 < self._consecutive and first > max(0, self._entered - self._size) and self._dead[(first - 1) % self._size]:
            first -= 1
        while last - first + 1 < self._consecutive and last + 1 < self._entered and self._dead[(last + 1) % self._size]:
            last += 1
        return last - first + 1

    def _count(self, begin: int) -> int:
        """Dead letters among the records of the window that begins there."""
        first, end = begin % self._size, begin % self._size + self._window
        return self._dead.count(1, first, min(end, self._size)) + self._dead.count(1, 0, max(0, end - self._size))


@dataclass(frozen=True, slots=True)
class Ticket:
    """A record's place in the row of its route."""

    route: str
    topic: str
    number: int


@dataclass(slots=True)
class _Stopped:
    """A route that is stopped in this process."""

    stopped: StoppedRoute
    in_table: bool
    """Whether its row was written or seen: only then does a missing row mean that somebody has resumed it."""
    resumed: asyncio.Event = field(default_factory=asyncio.Event)


class Breakers:
    """The breakers of all routes; `async with` watches the table.

    A route stops here at once, and in the table as soon as the database answers.
    """

    def __init__(
        self, engine: AsyncEngine, *, window: int, share: float, consecutive: int, in_flight: int, look_every: float = 1.0
    ) -> None:
        self._engine = engine
        self._new = partial(Breaker, window=window, share=share, consecutive=consecutive, capacity=in_flight)
        self._look_every = look_every
        self._counts: dict[str, Breaker] = {}
        self._open: dict[str, _Stopped] = {}
        self._topics: frozenset[str] = frozenset()
        self._looked = asyncio.Event()
        self._look_now = asyncio.Event()
        self._leaving = False
        self._failures = 0
        self._watch: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Knows what is stopped when it returns, unless the database is away: that does not hold up the start."""
        self._watch = asyncio.create_task(self._watch_table())
        try:
            async with asyncio.timeout(_START_SECONDS):
                await self._looked.wait()
        except TimeoutError:
            pass
        except BaseException:
            self._watch.cancel()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Writes what is not in the table yet, if the database answers now."""
        if self._watch is None:
            return
        self._leaving = True
        self._look_now.set()
        try:
            await asyncio.wait({self._watch}, timeout=_STOP_SECONDS)
        finally:
            self._watch.cancel()
        await asyncio.wait({self._watch})

    def enter(self, route: str | None, topic: str) -> Ticket:
        """A record was read: to be called in the order of the offsets. One without a route counts for its topic."""
        # One with a route interrupts a row of those of its topic that have none.
        number = self._of(topic).enter()
        return Ticket(topic, topic, number) if route is None else Ticket(route, topic, self._of(route).enter())

    def dead_lettered(self, ticket: Ticket, reason: Reason, message: str) -> None:
        """The record is to be dead-lettered; may stop the route."""
        route, topic = ticket.route, ticket.topic
        if route in self._open:
            return
        tripped = self._of(route).dead_lettered(ticket.number)
        if tripped is None:
            return
        cause = bounded(_one_line(f"{tripped}, the last: {reason}: {message}"), _MAX_CAUSE)
        self._stop(StoppedRoute(route, topic, cause, datetime.now(UTC)), in_table=False)
        self._look_now.set()

    def is_open(self, route: str) -> bool:
        """Whether the route is stopped."""
        return route in self._open

    def stopped_topics(self) -> frozenset[str]:
        """Topics of stopped routes: their partitions are not read."""
        return self._topics

    def open_routes(self) -> dict[str, str]:
        """Each stopped route, with what tripped it and how to go on."""
        return {route: f"{held.stopped.cause}; to go on: `{held.stopped.resume}`" for route, held in self._open.items()}

    async def until_closed(self, route: str) -> None:
        """Returns when the route is not stopped."""
        while (held := self._open.get(route)) is not None:
            await held.resumed.wait()

    def _of(self, route: str) -> Breaker:
        found = self._counts.get(route)
        if found is None:
            found = self._counts[route] = self._new()
        return found

    def _stop(self, stopped: StoppedRoute, *, in_table: bool) -> None:
        self._open[stopped.route] = _Stopped(stopped, in_table)
        self._topics = frozenset(held.stopped.topic for held in self._open.values())
        metrics.ROUTE_STOPPED.labels(stopped.route).set(1)
        log.error(
            "route_stopped",
            route=stopped.route,
            topic=stopped.topic,
            cause=stopped.cause,
            tripped_at=stopped.tripped_at.isoformat(),
            hint=f"mend the cause, then run `{stopped.resume}`",
        )

    def _resume(self, route: str) -> None:
        held = self._open.pop(route)
        self._topics = frozenset(each.stopped.topic for each in self._open.values())
        self._of(route).reset()
        held.resumed.set()
        metrics.ROUTE_STOPPED.labels(route).set(0)
        log.info("route_resumed", route=route, topic=held.stopped.topic)

    async def _watch_table(self) -> None:
        while True:
            self._look_now.clear()
            leaving = self._leaving
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    await self._look()
            except Exception as error:  # noqa: BLE001 - whatever a driver raises; without this task a stopped route would stay so for ever
                self._failed(error)
            else:
                self._answered()
            self._looked.set()
            if leaving:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._look_now.wait(), self._pause())

    async def _look(self) -> None:
        rows = {row.route: row for row in await breakers.stopped_routes(self._engine)}
        # From here to the writing nothing else runs.
        for route, row in rows.items():
            if route in self._open:
                self._open[route].in_table = True
            else:
                self._stop(row, in_table=True)
        for route in [route for route, held in self._open.items() if held.in_table and route not in rows]:
            self._resume(route)
        for held in [held for held in self._open.values() if not held.in_table]:
            await breakers.stop(self._engine, held.stopped)
            held.in_table = True

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        if self._failures == 1:
            log.warning("breakers_not_read", error=why(error), hint="routes stay as they are until then")

    def _answered(self) -> None:
        if self._failures:
            log.info("breakers_read_again", failures=self._failures)
        self._failures = 0

    def _pause(self) -> float:
        if not self._failures:
            return self._look_every
        longest = min(self._look_every * 2 ** min(self._failures, 10), _LONGEST_PAUSE)
        return random.uniform(longest / 2, longest)  # noqa: S311 - not a secret


def _one_line(text: str) -> str:
    """Printable: the message quotes records, and terminals obey some characters and PostgreSQL refuses others."""
    return "".join(character if character.isprintable() else " " for character in text)
