"""Which offset may be committed: that of the first record without a disposition.

Three words: *next* is the offset that the group would read first, *pending* are the records read and not finished, *committed* is the last
*next* that Kafka has taken. Offsets have gaps (compaction, transaction markers).
"""

from collections import deque


class OffsetTracker:
    """The contiguous prefix of finished records of one partition."""

    __slots__ = ("_finished", "_pending", "committed", "in_flight", "next")

    def __init__(self) -> None:
        self._pending: deque[tuple[int, int]] = deque()
        self._finished: set[int] = set()
        self.in_flight = 0
        """Records without a disposition."""
        self.next = -1
        """-1 until the first record is finished."""
        self.committed = -1

    def begin(self, offset: int, timestamp: int = 0) -> None:
        """A record was read; offsets come in ascending order. `timestamp` is the record's, in milliseconds."""
        self._pending.append((offset, timestamp))
        self.in_flight += 1

    def finish(self, offset: int) -> None:
        """A record has its disposition."""
        self._finished.add(offset)
        self.in_flight -= 1
        while self._pending and self._pending[0][0] in self._finished:
            first, _ = self._pending.popleft()
            self._finished.discard(first)
            self.next = first + 1

    @property
    def pending(self) -> int:
        """Records between the first unfinished one and the last one read."""
        return len(self._pending)

    @property
    def position(self) -> int:
        """Offset of the first record without a disposition, or of the record to come; -1 before the first."""
        return self._pending[0][0] if self._pending else self.next

    @property
    def oldest(self) -> int | None:
        """Timestamp of the first record without a disposition, in milliseconds; None when there is none."""
        return self._pending[0][1] if self._pending else None

    @property
    def gap(self) -> int:
        """Offsets that are finished, or read, and not yet committed."""
        if self.committed < 0:
            return self.pending
        return (self._pending[-1][0] + 1 if self._pending else self.next) - self.committed
