"""The committed offset never passes an unfinished record."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingress.offsets import OffsetTracker


@given(st.data())
def test_a_commit_never_passes_an_unfinished_record(data: st.DataObject) -> None:
    # Ascending with gaps: compaction and transaction markers leave holes.
    offsets = sorted(data.draw(st.sets(st.integers(0, 500), min_size=1, max_size=60)))
    finishing = data.draw(st.permutations(offsets))
    tracker, unfinished, begun = OffsetTracker(), set(), iter(offsets)
    for offset in finishing:
        while offset not in unfinished:
            tracker.begin(following := next(begun))
            unfinished.add(following)
        before = tracker.next
        tracker.finish(offset)
        unfinished.discard(offset)
        assert tracker.next >= before
        assert all(left >= tracker.next for left in unfinished)
        assert tracker.pending >= len(unfinished)


@given(st.sets(st.integers(0, 10_000), min_size=1, max_size=80), st.randoms())
def test_when_all_are_finished_the_whole_prefix_is_committable(offsets: set[int], order: object) -> None:
    tracker = OffsetTracker()
    for offset in sorted(offsets):
        tracker.begin(offset)
    shuffled = sorted(offsets)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    for offset in shuffled:
        tracker.finish(offset)
    assert (tracker.next, tracker.pending) == (max(offsets) + 1, 0)
