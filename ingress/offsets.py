"""Which offset may be committed: that of the first record without a disposition.

Three words: *next* is the offset that the group would read first, *pending* are the records read and not finished, *committed* is the last
*next* that Kafka has taken. Offsets have gaps (compaction, transaction markers).
"""

from collections import deque


class OffsetTracker:
    """The contiguous prefix of finished records of one partition."""

    __slots__ = ("_finished", "_pending", "committed", "next")

    def __init__(self) -> None:
        self._pending: deque[int] = deque()
        self._finished: set[int] = set()
        self.next = -1
        """-1 until the first record is finished."""
        self.committed = -1

    def begin(self, offset: int) -> None:
        """A record was read; offsets come in ascending order."""
        self._pending.append(offset)

    def finish(self, offset: int) -> None:
        """A record has its disposition."""
        self._finished.add(offset)
        while self._pending and self._pending[0] in self._finished:
            first = self._pending.popleft()
            self._finished.discard(first)
            self.next = first + 1

    @property
    def pending(self) -> int:
        """Records between the first unfinished one and the last one read."""
        return len(self._pending)
