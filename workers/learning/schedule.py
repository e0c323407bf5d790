"""Which hours of which days are for which module. All arithmetic is in whole quarters of an hour, so the hours add up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby

from schemas.learning import Focus, LearningDay, LearningSession, LearningStyle, LearningWeek
from workers.learning.logic import in_order
from workers.learning.models import Module, Schedule, ScheduleBrief, Span

_QUARTERS = 4
"""In an hour."""
_MINUTES = 15
"""In a quarter."""
_SHORTEST_DAY = 2
_LONGEST_DAY = 32
_WEEK = 7


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How a learning style spends its time."""

    days: int
    """A week."""
    practice: Fraction
    """Share of a module's time that is practice; the rest, before it, is study."""


RHYTHMS: dict[LearningStyle, Rhythm] = {
    "balanced": Rhythm(5, Fraction(1, 2)),
    # Short sittings on many days: what is read is kept better when it is spaced out.
    "reading": Rhythm(6, Fraction(1, 3)),
    "visual": Rhythm(5, Fraction(2, 5)),
    # Few, long sittings: a thing that is built needs a stretch of time.
    "hands_on": Rhythm(3, Fraction(2, 3)),
}


@dataclass(frozen=True, slots=True)
class _Piece:
    day: int
    """Counted from 1, over all weeks."""
    module_id: str
    focus: Focus
    quarters: int


def create(brief: ScheduleBrief) -> Schedule:
    """Each module in one stretch, behind its prerequisites, study before practice. Raises `SyllabusError` for prerequisites in a circle."""
    by_id = {module.id: module for module in brief.modules}
    order = in_order({module.id: module.prerequisites for module in brief.modules})
    pieces = list(_pieces([by_id[name] for name in order], brief))
    spans = [
        Span(module_id=name, starts_on_day=days[0], ends_on_day=days[-1])
        for name, group in groupby(pieces, key=lambda piece: piece.module_id)
        if (days := [piece.day for piece in group])
    ]
    return Schedule(spans=spans, weeks=_weeks(pieces), duration_days=pieces[-1].day if pieces else 0)


def _pieces(modules: list[Module], brief: ScheduleBrief) -> Iterator[_Piece]:
    days = _days(brief.time_commitment_hours * _QUARTERS, RHYTHMS[brief.learning_style])
    day, free = next(days)
    for module in modules:
        for focus, wanted in _split(module.hours * _QUARTERS, RHYTHMS[brief.learning_style].practice):
            left = wanted
            while left:
                if not free:
                    day, free = next(days)
                taken = min(left, free)
                yield _Piece(day, module.id, focus, taken)
                left, free = left - taken, free - taken


def _split(quarters: int, practice: Fraction) -> list[tuple[Focus, int]]:
    practised = min(max(round(quarters * practice), 1), quarters - 1)
    return [("study", quarters - practised), ("practice", practised)]


def _days(weekly: int, rhythm: Rhythm) -> Iterator[tuple[int, int]]:
    """For ever: the days with something to do, and their quarters; those of a week add up to `weekly`, as evenly as they can."""
    least, most = -(-weekly // _LONGEST_DAY), max(weekly // _SHORTEST_DAY, 1)
    count = min(max(rhythm.days, least), most, _WEEK)
    week = 0
    while True:
        for number in range(count):
            yield week * _WEEK + number * _WEEK // count + 1, weekly * (number + 1) // count - weekly * number // count
        week += 1


def _weeks(pieces: list[_Piece]) -> list[LearningWeek]:
    return [
        LearningWeek(
            week=week + 1,
            days=[
                LearningDay(
                    day=(day - 1) % _WEEK + 1,
                    sessions=[
                        LearningSession(module_id=piece.module_id, focus=piece.focus, minutes=piece.quarters * _MINUTES)
                        for piece in sessions
                    ],
                )
                for day, sessions in groupby(of_week, key=lambda piece: piece.day)
            ],
        )
        for week, of_week in groupby(pieces, key=lambda piece: (piece.day - 1) // _WEEK)
    ]
