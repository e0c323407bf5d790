"""Records of one lane take their turns in order; no others wait for them."""

from __future__ import annotations

import asyncio
import random

from hypothesis import given
from hypothesis import strategies as st

from ingress.lanes import Lanes, Turn

LANES = st.lists(st.lists(st.sampled_from("abcd"), unique=True, max_size=3), min_size=1, max_size=40)


@given(LANES, st.randoms(use_true_random=False))
def test_nobody_passes_another_of_its_lane_and_nobody_waits_for_anyone_else(entering: list[list[str]], chance: random.Random) -> None:
    lanes = Lanes()
    waiting: dict[int, Turn] = {number: lanes.enter(names) for number, names in enumerate(entering)}
    while waiting:
        for number, turn in waiting.items():
            before = [other for other in waiting if other < number and set(entering[other]) & set(entering[number])]
            assert turn.has_come == (not before)
        # Mostly those whose turn has come, now and then one that gives up before.
        able = [number for number, turn in waiting.items() if turn.has_come]
        leaving = chance.choice(able if chance.random() < 0.8 else list(waiting))
        waiting.pop(leaving).leave()
    assert len(lanes) == 0, "an empty lane takes no memory"


@given(LANES)
def test_everybody_who_waits_is_woken_in_turn(entering: list[list[str]]) -> None:
    async def run() -> list[int]:
        lanes, order = Lanes(), list[int]()

        async def pass_through(number: int, turn: Turn) -> None:
            await turn.come()
            await asyncio.sleep(0)
            order.append(number)
            turn.leave()

        await asyncio.gather(*(pass_through(number, lanes.enter(names)) for number, names in enumerate(entering)))
        return order

    order = asyncio.run(run())
    assert sorted(order) == list(range(len(entering)))
    for name in "abcd":
        of_lane = [number for number in order if name in entering[number]]
        assert of_lane == sorted(of_lane)


@given(LANES, st.integers(0, 39))
def test_one_that_is_cancelled_while_it_waits_lets_the_next_one_by(entering: list[list[str]], cancelled: int) -> None:
    async def run() -> int:
        lanes, passed = Lanes(), 0

        async def pass_through(turn: Turn) -> None:
            nonlocal passed
            try:
                await turn.come()
                await asyncio.sleep(0)
                passed += 1
            finally:
                turn.leave()

        tasks = [asyncio.create_task(pass_through(lanes.enter(names))) for names in entering]
        await asyncio.sleep(0)
        tasks[cancelled % len(tasks)].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert len(lanes) == 0
        return passed

    assert asyncio.run(run()) >= len(entering) - 1


@given(LANES, st.integers(0, 2**32))
def test_one_that_leaves_some_of_its_lanes_holds_nobody_back_there(entering: list[list[str]], seed: int) -> None:
    lanes, chance = Lanes(), random.Random(seed)  # noqa: S311 - draws of a test
    names = {number: list(each) for number, each in enumerate(entering)}
    waiting: dict[int, Turn] = {number: lanes.enter(each) for number, each in names.items()}
    while waiting:
        number = chance.choice(list(waiting))
        if chance.random() < 0.5:
            names[number] = [name for name in names[number] if chance.random() < 0.5]
            waiting[number].keep(names[number])
        else:
            waiting.pop(number).leave()
        for other, turn in waiting.items():
            before = [each for each in waiting if each < other and set(names[each]) & set(names[other])]
            assert turn.has_come == (not before)
    assert len(lanes) == 0, "an empty lane takes no memory"


@given(LANES)
def test_one_that_waits_is_woken_when_it_leaves_the_lane_it_waits_in(entering: list[list[str]]) -> None:
    async def run() -> None:
        lanes = Lanes()
        turns = [lanes.enter(names) for names in entering]
        waits = [asyncio.create_task(turn.come()) for turn in turns]
        await asyncio.sleep(0)
        for turn in turns:
            turn.keep([])
        async with asyncio.timeout(5):
            await asyncio.gather(*waits)
        assert len(lanes) == 0

    asyncio.run(run())
