"""The bytes that are in flight: what was read, and what references bring in."""

from __future__ import annotations

import asyncio

from ingress.lanes import Lanes


class Room:
    """So many bytes at one time. A record is read while there is room at all; a reference is fetched when all of it has room.

    References have their room in the order in which their records were read. In any other a record could hold room while it waits for its
    turn behind one that waits for room. The only one is always let in, however full it is: it waits for nobody who waits for room.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.used = 0
        self._fetched = 0
        """How much of it references have."""
        self._queue = Lanes()
        self._freed = asyncio.Event()

    @property
    def left(self) -> int:
        """May be negative."""
        return self.most - self.used

    def add(self, size: int) -> None:
        """A record was read."""
        self.used += size

    def remove(self, size: int) -> None:
        """A record has ended."""
        self.used -= size
        self._freed.set()

    def load(self, reference: str) -> Load:
        """A record was read that has a reference: its place in the queue."""
        return Load(self, self._queue, reference)

    async def fit(self, size: int) -> None:
        """For the first of the queue: returns when there is room for it, which it then has."""
        while self._fetched and size > self.left:
            self._freed.clear()
            await self._freed.wait()
        self.used += size
        self._fetched += size

    def give_back(self, size: int) -> None:
        self._fetched -= size
        self.remove(size)


class Load:
    """What one reference brings in."""

    __slots__ = ("_place", "_room", "reference", "size")

    def __init__(self, room: Room, queue: Lanes, reference: str) -> None:
        self._room = room
        self._place = queue.enter(["references"])
        self.reference = reference
        self.size = 0
        """Bytes for which it has room."""

    async def come(self) -> None:
        """Returns when it is the first that waits for room. May be cancelled; then `leave` is still due."""
        await self._place.come()

    async def take(self, size: int) -> None:
        """Returns when it has room for so many bytes, and lets the next one come. May be cancelled; then `leave` is still due."""
        await self._room.fit(size)
        self.size = size
        self._place.leave()

    def leave(self) -> None:
        """Gives up its room and its place. Does nothing the second time."""
        self._place.leave()
        if self.size:
            self._room.give_back(self.size)
            self.size = 0
