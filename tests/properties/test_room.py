"""References never bring in more than there is room for, and none of them waits for ever."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from ingress.lanes import Lanes
from ingress.room import Room

_MOST = 100


@dataclass(frozen=True)
class Given:
    """A record: its lane, its bytes, whether they come by reference, and after how many steps it is given up."""

    key: str
    size: int
    by_reference: bool
    given_up: int | None


RECORDS = st.lists(
    st.builds(Given, st.sampled_from("abc"), st.integers(0, _MOST), st.booleans(), st.none() | st.integers(0, 20)), min_size=1, max_size=30
)


@given(RECORDS, st.integers(0, 2**32))
def test_all_get_room_in_the_end_whatever_holds_it_and_waits_for_its_turn(records: list[Given], seed: int) -> None:
    """The ways of a record through the ingress: room, then its turn, which it may have to wait for with all that it holds."""
    asyncio.run(_all_pass(records, random.Random(seed)))  # noqa: S311 - draws of a test


async def _all_pass(records: list[Given], chance: random.Random) -> None:
    room, lanes = Room(_MOST, 4), Lanes()
    # Made in their order; one that is cancelled before its first step has entered nothing, which is as good.
    tasks = [asyncio.create_task(_pass(record, room, lanes, chance)) for record in records]
    by_value = sum(each.size for each in records if not each.by_reference)
    for step in range(21):
        for task, record in zip(tasks, records, strict=True):
            if record.given_up == step:
                task.cancel()
        await asyncio.sleep(0)
        assert room.used <= by_value + _MOST
    async with asyncio.timeout(20):
        answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(answer is None or isinstance(answer, asyncio.CancelledError) for answer in answers)
    assert (room.used, room.waiting) == (0, 0)
    assert len(lanes) == 0


async def _pass(record: Given, room: Room, lanes: Lanes, chance: random.Random) -> None:
    async def pause() -> None:
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)

    turn, load, size = lanes.enter([record.key]), None, record.size
    if record.by_reference:
        load, size = room.load("s3://b/requests/x"), 0
    room.add(size)
    try:
        if load is not None:
            await pause()
            await load.come()
            await pause()
            await load.take(record.size)
        await turn.come()
        await pause()
    finally:
        turn.leave()
        room.remove(size)
        if load is not None:
            load.leave()
            load.leave()


async def test_a_reference_waits_for_the_room_of_another_and_not_for_that_of_records() -> None:
    room = Room(_MOST, 4)
    room.add(_MOST)
    first, second = room.load("s3://b/requests/1"), room.load("s3://b/requests/2")
    await asyncio.wait_for(first.take(60), 5)  # the only one is let in
    assert room.left == -60
    waits = asyncio.create_task(second.take(60))
    await asyncio.sleep(0)
    assert not waits.done()
    room.remove(_MOST)
    await asyncio.sleep(0)
    assert not waits.done(), "beside the first it does not fit"
    first.leave()
    await asyncio.wait_for(waits, 5)
    assert room.used == 60


async def test_small_references_are_bounded_by_their_number() -> None:
    room = Room(_MOST, 2)
    loads = [room.load(f"s3://b/requests/{number}") for number in range(3)]
    for load in loads[:2]:
        await asyncio.wait_for(load.take(0), 5)
    waits = asyncio.create_task(loads[2].take(0))
    await asyncio.sleep(0)
    assert (waits.done(), room.waiting) == (False, 1)
    loads[0].leave()
    await asyncio.wait_for(waits, 5)
    assert room.waiting == 0
