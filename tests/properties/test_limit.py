"""The limit stays within its bounds, finds what a server can take, and no place is ever lost."""

from __future__ import annotations

import asyncio
import heapq
import math
import random
from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingress.limit import AdaptiveLimit, Pace

FLOOR, CEILING, TARGET = 4, 128, 0.25


@dataclass
class Server:
    """So many workers, each busy with a call for so long, behind a queue and a network; calls beyond `room` are refused."""

    workers: int
    work: float
    network: float = 0.0
    room: int = 10**9
    stalled: tuple[float, float] = (0.0, 0.0)
    """Calls that begin between these moments are not answered within two seconds."""
    free: list[float] = field(default_factory=list)
    leaving: deque[float] = field(default_factory=deque)

    @property
    def capacity(self) -> float:
        return self.workers / self.work

    def call(self, now: float) -> tuple[float, bool]:
        """When the call ends, and whether with an answer."""
        if self.stalled[0] <= now < self.stalled[1]:
            return now + 2.0, False
        while self.leaving and self.leaving[0] <= now:
            self.leaving.popleft()
        if len(self.leaving) >= self.room:
            return now + self.network, False
        begins = max(now, heapq.heappop(self.free)) if len(self.free) >= self.workers else now
        heapq.heappush(self.free, begins + self.work)
        self.leaving.append(begins + self.work)
        return begins + self.work + self.network, True


@dataclass
class Run:
    """As many calls as the limit lets through, for ever, on a clock of the test's own."""

    server: Server
    pace: Pace = field(default_factory=lambda: Pace(FLOOR, CEILING, TARGET))
    now: float = 0.0
    under_way: list[tuple[float, int, float, bool]] = field(default_factory=list)
    limits: list[int] = field(default_factory=list)
    answered: int = 0
    calls: int = 0

    def until(self, *, calls: int) -> None:
        """`calls` more of them end."""
        self.limits, self.answered = [], 0
        for _ in range(calls):
            while len(self.under_way) < self.pace.limit:
                end, fine = self.server.call(self.now)
                self.calls += 1
                heapq.heappush(self.under_way, (end, self.calls, self.now, fine))
            self.now, _, began, fine = heapq.heappop(self.under_way)
            if fine:
                self.answered += 1
                self.pace.answered(self.now, self.now - began, used=True)
            else:
                self.pace.overloaded(self.now, self.now - began)
            self.limits.append(self.pace.limit)

    @property
    def mean(self) -> float:
        return sum(self.limits) / len(self.limits)


servers = st.builds(
    lambda workers, capacity, network: Server(workers, workers / capacity, network),
    st.integers(1, 4),  # many that begin and end together would make steps of the latency
    st.floats(150, 1000),
    st.floats(0, 0.02),
)


@settings(max_examples=20, deadline=None)
@given(servers)
def test_the_limit_comes_to_what_the_server_answers_in_good_time(server: Server) -> None:
    best = min(CEILING, server.capacity * TARGET)  # Little's law
    run = Run(server)
    run.until(calls=int(best * best) // 2 + 1000)
    began = run.now
    run.until(calls=20 * int(best))
    assert 0.85 * best <= run.mean <= 1.1 * best
    assert run.answered / (run.now - began) >= 0.98 * server.capacity


@settings(max_examples=10, deadline=None)
@given(servers, st.floats(1.0, 30.0))
def test_after_an_overload_the_limit_comes_back(server: Server, seconds: float) -> None:
    best = min(CEILING, server.capacity * TARGET)
    run = Run(server)
    run.until(calls=int(best * best) // 2 + 1000)
    server.stalled = (run.now, run.now + seconds)
    while run.now < server.stalled[1] + 3:
        run.until(calls=1)
    run.until(calls=int(best * best) // 2 + 1000)
    run.until(calls=20 * int(best))
    assert 0.85 * best <= run.mean <= 1.1 * best


@settings(max_examples=20, deadline=None)
@given(st.integers(8, 100))
def test_a_server_that_refuses_is_asked_no_more_than_it_takes(room: int) -> None:
    run = Run(Server(workers=100, work=0.02, network=0.002, room=room))
    run.until(calls=room * room + 2000)
    run.until(calls=20 * room)
    assert 0.5 * room <= run.mean <= 1.1 * room + 2
    assert run.answered >= 0.8 * 20 * room


def test_a_fast_server_is_given_all_it_may_have_within_a_few_thousand_calls() -> None:
    run = Run(Server(workers=10_000, work=0.005), Pace(FLOOR, 256, TARGET))
    run.until(calls=1000)
    assert run.pace.limit == 256


def test_a_development_server_gets_what_it_does_best_with() -> None:
    # 178 starts/s at any concurrency above a few: 180 ms at 32, the target at 44.
    run = Run(Server(workers=2, work=2 / 178))
    run.until(calls=3000)
    assert min(run.limits) >= 32
    assert max(run.limits[1000:]) <= 48


@given(st.lists(st.tuples(st.sampled_from(["good", "slow", "unused", "overloaded"]), st.floats(0, 20)), max_size=300), st.data())
def test_the_limit_stays_between_floor_and_ceiling_whatever_is_answered(answers: list[tuple[str, float]], data: st.DataObject) -> None:
    floor = data.draw(st.integers(1, 60))
    ceiling = data.draw(st.integers(floor, 300))
    pace, now = Pace(floor, ceiling, TARGET), 0.0
    for kind, seconds in answers:
        assert floor <= pace.limit <= ceiling
        now += seconds
        before = pace.limit
        if kind == "overloaded":
            pace.overloaded(now, seconds)
            assert pace.limit <= before
        else:
            pace.answered(now, TARGET + seconds if kind == "slow" else TARGET * min(seconds, 1), used=kind != "unused")
            assert pace.limit <= before + 1
            if kind == "unused":
                assert pace.limit <= before


@given(st.lists(st.tuples(st.floats(0.001, 9.9), st.booleans()), min_size=60, max_size=200))
def test_calls_under_way_when_the_limit_fell_do_not_make_it_fall_again(ends: list[tuple[float, bool]]) -> None:
    pace = Pace(1, 64, TARGET)  # 32 to begin with
    pace.overloaded(10.0, 10.0)
    assert pace.limit == 16
    for seconds, answered in sorted(ends):
        end = 10.0 + seconds  # all began with the first
        if answered:
            pace.answered(end, seconds + 10.0, used=True)
        else:
            pace.overloaded(end, seconds + 10.0)
    assert pace.limit == 16
    pace.overloaded(20.0, 9.0)  # this one did not
    assert pace.limit == 8


@settings(max_examples=10)
@given(st.randoms(use_true_random=False))
def test_a_few_calls_that_hang_do_not_lower_the_limit(chance: random.Random) -> None:
    pace, now = Pace(FLOOR, 256, TARGET), 0.0
    for _ in range(100):
        slow = set(chance.sample(range(32), 3))
        for number in range(32):
            now += 0.001
            pace.answered(now, 9.0 if number in slow else 0.2, used=True)
            assert pace.limit >= 32
    assert pace.limit > 64


def test_a_limit_that_nobody_uses_does_not_grow() -> None:
    limit = AdaptiveLimit(FLOOR, 256, TARGET)
    for _ in range(1000):
        limit.succeeded(0.001)
    assert limit.limit == 32


def test_a_ceiling_below_the_floor_spares_the_server() -> None:
    assert AdaptiveLimit(16, 2, TARGET).limit == 2


class Callers:
    """Tasks that want a place, and what the limit says of them."""

    def __init__(self) -> None:
        self.clock = 0.0
        self.limit = AdaptiveLimit(1, 3, TARGET, clock=lambda: self.clock)
        self.waiting: dict[int, asyncio.Task[None]] = {}
        self.holding: list[int] = []
        self.came = 0
        self.served: list[int] = []

    async def _come(self, number: int) -> None:
        await self.limit.acquire()
        assert self.limit.in_use >= 1
        del self.waiting[number]
        self.holding.append(number)
        self.served.append(number)

    def step(self, action: str, which: int) -> None:
        self.clock += 1.0
        if action == "come":
            self.came += 1
            self.waiting[self.came] = asyncio.ensure_future(self._come(self.came))
        elif action == "leave" and self.holding:
            self.holding.pop(which % len(self.holding))
            self.limit.release()
        elif action == "cancel" and self.waiting:
            number = list(self.waiting)[which % len(self.waiting)]
            self.waiting.pop(number).cancel()
        elif action == "good":
            self.limit.succeeded(0.2)
        elif action == "overloaded":
            self.limit.overloaded(0.5)


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


actions = st.tuples(
    st.sampled_from(["come", "come", "come", "leave", "leave", "cancel", "cancel", "good", "overloaded", "turn", "settle"]),
    st.integers(0, 9),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(actions, min_size=20, max_size=120))
def test_no_place_is_lost_or_given_twice_whoever_is_cancelled_when(steps: list[tuple[str, int]]) -> None:
    async def run() -> None:
        callers = Callers()
        limit = callers.limit
        for action, which in steps:
            before = limit.in_use
            callers.step(action, which)
            assert limit.in_use <= max(before, limit.limit)
            if action == "turn":
                await asyncio.sleep(0)
            elif action == "settle":
                await settled()
                assert limit.in_use == len(callers.holding)
                assert limit.waiting == len(callers.waiting)
                assert not callers.waiting or limit.in_use >= limit.limit, "somebody waits beside a free place"
                assert max(callers.served, default=0) < min(callers.waiting, default=math.inf), "somebody was overtaken"
        await settled()
        while callers.holding or callers.waiting:
            assert callers.holding, f"{len(callers.waiting)} wait and nobody has a place"
            callers.step("leave", 0)
            await settled()
        assert (limit.in_use, limit.waiting) == (0, 0)

    # A loop of its own, and not the one that the other tests share.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(run())


async def test_those_who_wait_are_let_in_when_the_limit_grows() -> None:
    limit = AdaptiveLimit(1, 64, TARGET, clock=lambda: 100.0)
    for _ in range(32):
        await limit.acquire()
    waiting = [asyncio.ensure_future(limit.acquire()) for _ in range(3)]
    await settled()
    assert not any(task.done() for task in waiting)
    limit.succeeded(0.01)
    limit.succeeded(0.01)
    await settled()
    assert [task.done() for task in waiting] == [True, True, False]
    limit.release()
    await waiting[2]


async def test_a_place_given_back_twice_is_told() -> None:
    limit = AdaptiveLimit(1, 64, TARGET)
    await limit.acquire()
    limit.release()
    with pytest.raises(RuntimeError, match="nobody had"):
        limit.release()
