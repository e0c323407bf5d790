"""How many calls to Temporal are under way at one time: as many as the server answers in good time, and no more."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable

_START = 32
"""What a development server does best with; others are found from here."""
_FEWEST_ANSWERS = 8
"""In a round: of less nothing can be said."""
_OVERLOADED, _SLOW = 0.5, 0.9


class Pace:
    """Additive increase, multiplicative decrease; `now` and `seconds` come from one clock.

    It falls to 0.9 of itself when more than half of a round's answers took longer than the target, and to a half when a call was refused or
    not answered. A share of the answers and not their mean: a server that is too busy is late with nearly all of them, while a single call
    that hangs for ten seconds says nothing of the other thirty and would lift any mean over the target. It falls once for all the calls
    under way at that moment: their answers tell of the old limit and are not counted.

    It grows by one for a limit's worth of good answers, while that many calls are made at all. Until it falls for the first time it grows
    by one for each answer that took less than half the target: that doubles a round's calls, so their latency at most, and cannot leap over
    the target.
    """

    def __init__(self, floor: int, ceiling: int, target_seconds: float) -> None:
        self._ceiling = max(1, ceiling)
        self._floor = min(max(1, floor), self._ceiling)  # of two that contradict each other the one that spares the server
        self._target = target_seconds
        self._exact = float(min(max(_START, self._floor), self._ceiling))
        self.limit = int(self._exact)
        self._leaping = True
        self._fell_at = -math.inf
        self._begin_round()

    def answered(self, now: float, seconds: float, *, used: bool) -> None:
        """A call was answered; `used` when about as many calls are under way as may be."""
        if now - seconds <= self._fell_at:
            return
        slow = seconds > self._target
        self._answers += 1
        self._late += slow
        if self._answers >= self._round:
            if 2 * self._late > self._answers:
                self._fall(now, _SLOW)
            self._begin_round()
        if used and not slow:
            self._set(self._exact + (1.0 if self._leaping and 2 * seconds < self._target else 1 / self._exact))

    def overloaded(self, now: float, seconds: float) -> None:
        """A call was refused with RESOURCE_EXHAUSTED, or was not answered in time, after so many seconds."""
        if now - seconds > self._fell_at:
            self._fall(now, _OVERLOADED)

    def _fall(self, now: float, share: float) -> None:
        self._leaping = False
        self._fell_at = now
        self._set(self._exact * share)
        self._begin_round()

    def _set(self, exact: float) -> None:
        self._exact = min(max(exact, self._floor), self._ceiling)
        self.limit = int(self._exact)

    def _begin_round(self) -> None:
        """A round is as many answers as the limit is when it begins."""
        self._round = max(self.limit, _FEWEST_ANSWERS)
        self._answers = self._late = 0


class AdaptiveLimit:
    """Places for so many calls at one time, given in the order in which they are asked for."""

    def __init__(self, floor: int, ceiling: int, target_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._pace = Pace(floor, ceiling, target_seconds)
        self._clock = clock
        self._usual = target_seconds
        """How long a call takes, smoothed."""
        self._waiters: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self.in_use = 0

    @property
    def limit(self) -> int:
        return self._pace.limit

    @property
    def waiting(self) -> int:
        return len(self._waiters)

    async def acquire(self) -> None:
        """Returns with a place, which `release` gives back. May be cancelled: then it has none."""
        if self.in_use < self._pace.limit:  # then nobody waits
            self.in_use += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiters[turn] = None
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()  # the place came in the same moment: somebody else's now
            else:
                self._waiters.pop(turn, None)
            raise

    def release(self) -> None:
        if not self.in_use:
            raise RuntimeError("a place among the calls to Temporal was given back that nobody had")
        self.in_use -= 1
        if self._waiters:
            self._admit()

    def succeeded(self, seconds: float) -> None:
        """A call was answered after so many seconds, whatever the answer says of its event."""
        pace = self._pace
        before = pace.limit
        # A tenth of the places may be between two calls.
        pace.answered(self._clock(), seconds, used=bool(self._waiters) or 10 * (self.in_use + 1) >= 9 * before)
        self._usual += (seconds - self._usual) / 16
        if pace.limit > before:
            self._admit()

    def overloaded(self, seconds: float | None = None) -> None:
        """A call was refused with RESOURCE_EXHAUSTED, or was not answered in time.

        `seconds` is how long it took; without it, as long as calls usually take.
        """
        self._pace.overloaded(self._clock(), self._usual if seconds is None else seconds)

    def _admit(self) -> None:
        while self._waiters and self.in_use < self._pace.limit:
            turn, _ = self._waiters.popitem(last=False)
            if not turn.done():  # cancelled, and not run since
                self.in_use += 1
                turn.set_result(None)
