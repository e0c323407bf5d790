"""Ends the process when it stands still without a reason: its supervisor starts it anew.

Two ways of standing still. The event loop does not turn (a call that blocks): a thread sees that. The loop turns, but the consumer does
not: it no longer polls, or waits for partitions that its group never gives it, while the broker answers others.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Self

import structlog

from ingress.consumer import Consumer

log = structlog.get_logger(__name__)

_TICK_SECONDS = 1.0
_EXIT_CODE = 70
"""EX_SOFTWARE of sysexits.h."""


class StoodStill(Exception):  # noqa: N818 - what to read in the log
    """The consumer stands still without a reason."""


async def watch(consumer: Consumer, broker_answers: Callable[[], Awaitable[bool]], seconds: float, tick: float = _TICK_SECONDS) -> None:
    """Returns never. Raises `StoodStill`; a broker that is away is a reason, a full house as well: the loop still turns then."""
    polls, still = -1, 0.0
    while True:
        await asyncio.sleep(tick)
        if not consumer.started or (consumer.assigned and consumer.polls != polls):
            polls, still = consumer.polls, 0.0
            continue
        still += tick
        if still < seconds:
            continue
        if not await broker_answers():
            log.warning("consumer_waits_for_kafka", seconds=still)
            still = 0.0
            continue
        what = "has not polled" if consumer.assigned else "is in its group without having been given partitions"
        raise StoodStill(f"the consumer {what} for {still:.0f} s, although Kafka answers: the process ends and is to be started again")


class LoopWatchdog:
    """`with` it, and call `beat` from the event loop. A loop that gives no sign for so many seconds ends the process with every stack."""

    def __init__(self, seconds: float, end: Callable[[int], object] = os._exit) -> None:
        self._seconds = seconds
        self._end = end
        self._beats = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="loop watchdog", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()

    async def beat(self) -> None:
        """Returns never."""
        while True:
            self._beats += 1
            await asyncio.sleep(_TICK_SECONDS)

    def _run(self) -> None:
        # Its own ticks, not the clock: a process that was stopped and goes on, or a machine that slept, has not stood still.
        last, ticks = -1, 0
        while not self._done.wait(_TICK_SECONDS):
            if self._beats != last:
                last, ticks = self._beats, 0
                continue
            ticks += 1
            if ticks * _TICK_SECONDS >= self._seconds:
                sys.stderr.write(f"the event loop has not turned for {self._seconds:g} s: the process ends and is to be started again\n")
                faulthandler.dump_traceback(all_threads=True)
                sys.stderr.flush()
                self._end(_EXIT_CODE)
                return
