"""Whose turn it is: records that share a lane take their turns in the order in which they entered, all others side by side."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Hashable, Iterable


class Turn:
    """One record's place in its lanes. It has its turn when it is the first in each of them."""

    __slots__ = ("_ahead", "_lanes", "_left", "_names", "_waiter")

    def __init__(self, lanes: Lanes, names: tuple[Hashable, ...]) -> None:
        self._lanes = lanes
        self._names = names
        self._ahead = 0
        """Lanes in which somebody is before it."""
        self._left = False
        self._waiter: asyncio.Future[None] | None = None

    @property
    def has_come(self) -> bool:
        return self._ahead == 0

    async def come(self) -> None:
        """Returns when it has its turn. May be cancelled; then `leave` is still due."""
        if self._ahead:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def leave(self) -> None:
        """Whoever is next has its turn. Does nothing the second time."""
        if not self._left:
            self._left = True
            self._lanes.step(self._names)

    def keep(self, names: Collection[Hashable]) -> None:
        """Leaves its other lanes: it turned out that it need not be in them."""
        if not self._left:
            kept = tuple(name for name in self._names if name in names)
            leaving = tuple(name for name in self._names if name not in names)
            self._names = kept
            for name in leaving:
                if not self._lanes.withdraw(self, name):
                    self.advance()

    @property
    def left(self) -> bool:
        return self._left

    def advance(self) -> None:
        """It has become the first in one more of its lanes."""
        self._ahead -= 1
        if self._ahead == 0 and self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def wait_for_one_more(self) -> None:
        self._ahead += 1


class Lanes:
    """The lanes by name. One without records takes no memory."""

    def __init__(self) -> None:
        self._lanes: dict[Hashable, deque[Turn]] = {}

    def enter(self, names: Iterable[Hashable]) -> Turn:
        """A turn behind all that are in these lanes; in no lane it comes at once."""
        turn = Turn(self, tuple(names))
        for name in turn._names:  # noqa: SLF001 - of the same module
            lane = self._lanes.setdefault(name, deque())
            if lane:
                turn.wait_for_one_more()
            lane.append(turn)
        return turn

    def step(self, names: tuple[Hashable, ...]) -> None:
        """Lets those forward who have become first since somebody left."""
        for name in names:
            if self._lanes[name][0].left:
                self._let_the_next(name)

    def withdraw(self, turn: Turn, name: Hashable) -> bool:
        """Takes it out of one of its lanes. Whether it was the first there."""
        lane = self._lanes[name]
        first = lane[0] is turn
        lane.remove(turn)
        if first:
            self._let_the_next(name)
        return first

    def _let_the_next(self, name: Hashable) -> None:
        lane = self._lanes[name]
        while lane and lane[0].left:  # also those who left before their turn
            lane.popleft()
        if lane:
            lane[0].advance()
        else:
            del self._lanes[name]

    def __len__(self) -> int:
        return len(self._lanes)
