"""A process that stands still without a reason ends; one that waits for a reason does not."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

from ingress.watchdog import StoodStill, watch

TICK = 0.01


def consumer(**state: Any) -> Any:
    return SimpleNamespace(**{"started": True, "assigned": True, "polls": 0, **state})


async def answers() -> bool:
    return True


async def test_a_consumer_that_no_longer_polls_ends_the_process() -> None:
    with pytest.raises(StoodStill, match="has not polled"):
        await asyncio.wait_for(watch(consumer(), answers, 0.1, TICK), 10)


async def test_a_group_that_never_gives_partitions_ends_the_process() -> None:
    with pytest.raises(StoodStill, match="without having been given partitions"):
        await asyncio.wait_for(watch(consumer(assigned=False), answers, 0.1, TICK), 10)


async def test_one_that_polls_is_left_alone_whatever_it_is_assigned() -> None:
    polling = consumer()

    async def poll() -> None:
        while True:
            polling.polls += 1
            await asyncio.sleep(0)

    others = asyncio.create_task(poll())
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(watch(polling, answers, 0.05, TICK), 0.5)
    others.cancel()
    assert polling.polls > 5


async def test_a_broker_that_is_away_is_a_reason_to_wait() -> None:
    asked = 0

    async def away() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    with pytest.raises(StoodStill):
        await asyncio.wait_for(watch(consumer(), away, 0.05, TICK), 10)
    assert asked == 4


async def test_a_consumer_that_waits_for_kafka_at_start_is_left_alone() -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(watch(consumer(started=False), answers, 0.05, TICK), 0.5)


_BLOCKED = """
import asyncio, time
from ingress.watchdog import LoopWatchdog

async def main():
    with LoopWatchdog(2) as watchdog:
        asyncio.create_task(watchdog.beat())
        await asyncio.sleep(0.1)
        time.sleep({seconds})  # a call that blocks
        await asyncio.sleep(0.1)

asyncio.run(main())
"""


@pytest.mark.parametrize(("seconds", "code"), [(60, 70), (1, 0)])
def test_an_event_loop_that_does_not_turn_ends_the_process_with_its_stacks(seconds: int, code: int) -> None:
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-c", _BLOCKED.format(seconds=seconds)], capture_output=True, text=True, timeout=50, check=False
    )
    assert ended.returncode == code, ended.stderr
    assert time.monotonic() - began < 40
    if code:
        assert "the event loop has not turned for 2 s" in ended.stderr
        assert "line 9 in main" in ended.stderr, "the stack says where it blocks"
