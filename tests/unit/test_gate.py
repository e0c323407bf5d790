"""While a part is away, one asks on behalf of all; nobody waits once it is back."""

from __future__ import annotations

import asyncio

import pytest

from ingress.gate import Gate
from schemas.errors import Reason, Rejected, Transient


class Part:
    """Answers while it is there."""

    def __init__(self) -> None:
        self.there = False
        self.asked = 0

    async def ask(self) -> str:
        self.asked += 1
        await asyncio.sleep(0)
        if not self.there:
            raise Transient("away")
        return "answer"


async def until_answered(gate: Gate, part: Part) -> str:
    while True:
        try:
            return await gate.through(part.ask)
        except Transient:
            continue


async def test_an_outage_is_asked_about_by_one_and_ends_for_all_at_once() -> None:
    part, pauses = Part(), asyncio.Queue[float]()
    go_on = asyncio.Semaphore(0)

    async def sleep(seconds: float) -> None:
        pauses.put_nowait(seconds)
        await go_on.acquire()

    gate = Gate("part", sleep)
    tasks = [asyncio.create_task(until_answered(gate, part)) for _ in range(100)]
    await asyncio.wait_for(pauses.get(), 5)
    assert not gate.is_open
    asked = part.asked
    for _ in range(5):
        go_on.release()
        await asyncio.wait_for(pauses.get(), 5)
    assert part.asked == asked + 5, "one question for each pause"
    part.there = True
    go_on.release()
    assert await asyncio.wait_for(asyncio.gather(*tasks), 5) == ["answer"] * 100
    assert gate.is_open


async def test_the_one_who_asks_is_cancelled_and_another_asks() -> None:
    part, asking = Part(), asyncio.Event()

    async def sleep(_: float) -> None:
        asking.set()
        await asyncio.sleep(0.01 if part.there else 3600)

    gate = Gate("part", sleep)
    for _ in range(10):
        if gate.is_open:
            with pytest.raises(Transient):
                await gate.through(part.ask)
    first = asyncio.create_task(gate.through(part.ask))
    await asyncio.wait_for(asking.wait(), 5)
    second = asyncio.create_task(gate.through(part.ask))
    await asyncio.sleep(0)
    part.there = True
    first.cancel()
    assert await asyncio.wait_for(second, 5) == "answer"


async def test_one_record_that_is_refused_for_good_does_not_close_it() -> None:
    gate = Gate("part")

    async def refused() -> str:
        raise Rejected(Reason.REJECTED_BY_TEMPORAL, "no")

    for _ in range(50):
        with pytest.raises(Rejected):
            await gate.through(refused)
    assert gate.is_open


async def test_one_record_that_never_works_does_not_stop_the_others() -> None:
    gate, part = Gate("part"), Part()
    part.there = True

    async def fails() -> str:
        raise Transient("only this one")

    for _ in range(50):
        with pytest.raises(Transient):
            await gate.through(fails)
        assert await gate.through(part.ask) == "answer"
    assert gate.is_open
