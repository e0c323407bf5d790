"""The bytes that are in flight: what was read, and what references bring in."""

from __future__ import annotations

import asyncio

from ingress.lanes import Lanes


class Room:
    """So many bytes, and so many references, at one time.

    A record is read while there is room at all; a reference is fetched when all of it has room. References have their room in the order in
    which their records were read. In any other a record could hold room while it waits for its turn behind one that waits for room. The
    only one is always let in, however full it is: it waits for nobody who waits for room.
    """

    def __init__(self, most: int, references: int) -> None:
        self.most = most
        self.used = 0
        self.waiting = 0
        """References that have no room yet."""
        self._references = references
        self._fetched = 0
        """Those that have."""
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
        self.waiting += 1
        return Load(self, self._queue, reference)

    async def fit(self, size: int) -> None:
        """For the first of the queue: returns when there is room for it, which it then has."""
        while self._fetched and (size > self.left or self._fetched >= self._references):
            self._freed.clear()
            await self._freed.wait()
        self.used += size
        self._fetched += 1
        self.waiting -= 1

    def leave(self, size: int | None) -> None:
        """A reference has ended; with None it had no room yet."""
        if size is None:
            self.waiting -= 1
        else:
            self._fetched -= 1
            self.remove(size)


class Load:
    """What one reference brings in."""

    __slots__ = ("_left", "_place", "_room", "_size", "reference")

    def __init__(self, room: Room, queue: Lanes, reference: str) -> None:
        self._room = room
        self._place = queue.enter(["references"])
        self.reference = reference
        self._size: int | None = None
        self._left = False

    @property
    def size(self) -> int:
        """Bytes for which it has room."""
        return self._size or 0

    async def come(self) -> None:
        """Returns when it is the first that waits for room. May be cancelled; then `leave` is still due."""
        await self._place.come()

    async def take(self, size: int) -> None:
        """Returns when it has room for so many bytes, and lets the next one come. May be cancelled; then `leave` is still due."""
        await self._room.fit(size)
        self._size = size
        self._place.leave()

    def leave(self) -> None:
        """Gives up its room and its place. Does nothing the second time."""
        if not self._left:
            self._left = True
            self._place.leave()
            self._room.leave(self._size)
