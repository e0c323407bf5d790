"""Schedules: whatever the modules and the hours are, nothing is lost and nothing comes too early."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.learning import LearningStyle
from workers.learning.logic import SyllabusError
from workers.learning.models import Module, Schedule, ScheduleBrief
from workers.learning.schedule import RHYTHMS, create


def module(number: int, hours: int, needs: set[int]) -> Module:
    prerequisites = [f"m{need}" for need in sorted(needs)]
    fields: dict[str, Any] = {"topic": "t", "difficulty": "beginner", "summary": "s", "outcomes": [], "prerequisites": prerequisites}
    return Module(id=f"m{number}", hours=hours, **fields)


@st.composite
def modules(draw: st.DrawFn) -> list[Module]:
    """Without circles, in any order."""
    count = draw(st.integers(1, 12))
    made = [
        module(number, draw(st.integers(1, 60)), draw(st.sets(st.integers(0, number - 1), max_size=3)) if number else set())
        for number in range(count)
    ]
    return draw(st.permutations(made))


briefs = st.builds(
    ScheduleBrief, modules=modules(), time_commitment_hours=st.integers(1, 80), learning_style=st.sampled_from(list(RHYTHMS))
)


def sessions(schedule: Schedule) -> list[tuple[int, str, str, int]]:
    """Day counted from 1, module, focus, minutes."""
    return [
        ((week.week - 1) * 7 + day.day, one.module_id, one.focus, one.minutes)
        for week in schedule.weeks
        for day in week.days
        for one in day.sessions
    ]


@given(briefs)
def test_every_module_is_there_once_and_its_hours_add_up(brief: ScheduleBrief) -> None:
    made = create(brief)
    assert sorted(span.module_id for span in made.spans) == sorted(one.id for one in brief.modules)
    stretches = [name for name, _ in groupby(sessions(made), key=lambda session: session[1])]
    assert stretches == [span.module_id for span in made.spans], "a module comes in one stretch"
    for one in brief.modules:
        assert sum(minutes for _, name, _, minutes in sessions(made) if name == one.id) == one.hours * 60


@given(briefs)
def test_no_module_starts_before_its_prerequisites_have_ended(brief: ScheduleBrief) -> None:
    made = create(brief)
    place = {span.module_id: number for number, span in enumerate(made.spans)}
    spans = {span.module_id: span for span in made.spans}
    for one in brief.modules:
        for need in one.prerequisites:
            assert place[need] < place[one.id]
            assert spans[need].ends_on_day <= spans[one.id].starts_on_day


@given(briefs)
def test_no_week_takes_more_than_was_offered_and_none_but_the_last_takes_less(brief: ScheduleBrief) -> None:
    made = create(brief)
    weeks = [sum(one.minutes for day in week.days for one in day.sessions) for week in made.weeks]
    assert all(minutes == brief.time_commitment_hours * 60 for minutes in weeks[:-1])
    assert 0 < weeks[-1] <= brief.time_commitment_hours * 60
    assert [week.week for week in made.weeks] == list(range(1, len(weeks) + 1))


@given(briefs)
def test_days_are_of_a_week_in_order_and_evenly_filled(brief: ScheduleBrief) -> None:
    made = create(brief)
    for week in made.weeks:
        days = [day.day for day in week.days]
        assert days == sorted(set(days))
        assert set(days) <= set(range(1, 8))
    full = [sum(one.minutes for one in day.sessions) for week in made.weeks[:-1] for day in week.days]
    assert not full or (max(full) - min(full) <= 15 and min(full) >= 30)
    assert made.duration_days == sessions(made)[-1][0] == max(span.ends_on_day for span in made.spans)


@given(briefs)
def test_study_comes_before_practice_in_the_styles_proportion(brief: ScheduleBrief) -> None:
    made = create(brief)
    share = RHYTHMS[brief.learning_style].practice
    for one in brief.modules:
        mine = [(focus, minutes) for _, name, focus, minutes in sessions(made) if name == one.id]
        assert [focus for focus, _ in groupby(mine, key=lambda session: session[0])] == ["study", "practice"]
        practised = sum(minutes for focus, minutes in mine if focus == "practice")
        assert abs(practised - float(share) * one.hours * 60) <= 15
        assert all(minutes > 0 and minutes % 15 == 0 for _, minutes in mine)


@given(briefs)
def test_the_same_question_has_the_same_answer(brief: ScheduleBrief) -> None:
    assert create(brief) == create(brief)


@pytest.mark.parametrize(("style", "days"), [("balanced", 5), ("reading", 6), ("visual", 5), ("hands_on", 3)])
def test_a_style_has_its_days_a_week(style: LearningStyle, days: int) -> None:
    made = create(ScheduleBrief(modules=[module(0, 60, set())], time_commitment_hours=10, learning_style=style))
    assert len(made.weeks[0].days) == days


def test_an_hour_a_week_is_cut_into_two_halves_and_eighty_use_every_day() -> None:
    little = create(ScheduleBrief(modules=[module(0, 2, set())], time_commitment_hours=1, learning_style="reading"))
    assert [[sum(one.minutes for one in day.sessions) for day in week.days] for week in little.weeks] == [[30, 30], [30, 30]]
    much = create(ScheduleBrief(modules=[module(0, 60, set())] * 1, time_commitment_hours=80, learning_style="hands_on"))
    assert len(much.weeks[0].days) == 6  # sixty of the eighty hours
    assert much.duration_days == 6


def test_prerequisites_in_a_circle_are_refused() -> None:
    circle = [module(0, 1, {1}), module(1, 1, {0})]
    with pytest.raises(SyllabusError):
        create(ScheduleBrief(modules=circle, time_commitment_hours=5, learning_style="balanced"))
