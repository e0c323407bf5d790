"""The demo's plan, its judgement and its page."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from headrace.demo import plan
from headrace.demo.check import wrong
from headrace.demo.page import Shown, page, weeks
from headrace.demo.plan import Case, Purchase, Steered
from headrace.demo.tell import story
from headrace.settings import Settings
from schemas.learning import LearningDay, LearningModule, LearningPathResult, LearningSession, LearningWeek


class _Watched:
    """What `wrong` asks the watch for."""

    def __init__(self, cases: list[Case], runs: int = 1) -> None:
        ids = [case.event_id for case in cases if case.event_id]
        self.runs, self.completions = Counter(dict.fromkeys(ids, runs)), Counter(dict.fromkeys(ids, 1))


def _cases() -> list[Case]:
    return plan.cases(Settings.model_construct(s3_bucket="headrace"))


def _ended(case: Case, result: dict[str, Any] | None) -> Case:
    case.sent()
    case.completion = {"result": result, "error": None}
    case.ended(case.expected)
    return case


def _of(section: str) -> Case:
    return next(case for case in _cases() if case.section == section)


def test_a_second_run_of_the_demo_shares_no_event_purchase_or_upload_with_the_first() -> None:
    first, second = _cases(), _cases()
    assert not {case.event_id for case in first if case.event_id} & {case.event_id for case in second if case.event_id}
    for name in ("item", "reference", "file_path"):
        values = [{getattr(case.request, name, None) for case in cases} - {None, "a course on mills"} for cases in (first, second)]
        assert values[0]
        assert not values[0] & values[1]
    assert not {case.user for case in first if isinstance(case, Purchase)} & {case.user for case in second if isinstance(case, Purchase)}


def test_the_repeated_request_is_the_same_to_the_byte() -> None:
    first, *others = (case for case in _cases() if case.section == plan.IMAGES)
    assert [case.request for case in others if case.kind == "repeat"] == [first.request]


def test_a_record_without_an_answer_is_not_passed_over() -> None:
    cases = _cases()
    found = wrong(cases, _Watched(cases))
    assert len(found) == len(cases)
    assert all("ended as 'waiting', not" in line for line in found)


def test_a_second_run_of_one_event_is_told() -> None:
    case = _ended(_of(plan.IMAGES), None)
    assert wrong([case], _Watched([case])) == []
    assert wrong([case], _Watched([case], runs=2)) == [f"{case.about!r} has 2 runs, not 1"]


def test_a_pause_that_was_not_seen_to_hold_is_told() -> None:
    case = _ended(_of(plan.STEERING), None)
    assert isinstance(case, Steered)
    assert len(wrong([case], _Watched([case]))) == 1
    case.held = True
    assert wrong([case], _Watched([case])) == []


@pytest.mark.parametrize(("after", "faults"), [(380, 0), (500, 1), (None, 1)])
def test_a_balance_that_does_not_add_up_is_told(after: int | None, faults: int) -> None:
    case = _ended(_of(plan.SAGA), {"transaction_id": "t", "amount": 120, "item": "i", "reference": "r"})
    assert isinstance(case, Purchase)
    case.before, case.after = 500, after
    assert len(wrong([case], _Watched([case]))) == faults


def test_a_batch_that_lost_a_good_prompt_is_told() -> None:
    case = _ended(_of(plan.BATCH), {"images": [None] * 6, "errors": []})
    assert len(wrong([case], _Watched([case]))) == 1


@pytest.mark.parametrize(("clusters", "faults"), [(plan.EXPECTED_GROUPS, 0), (3, 1), (None, 1)])
def test_another_number_of_groups_than_the_data_have_is_told(clusters: int | None, faults: int) -> None:
    result = {"analysis_id": uuid4(), "summary": "", "rows": 1, "columns": 1, "clusters": clusters}
    report = {"report_key": "k", "report_url": "u", "report_size_bytes": 1, "report_sha256": "s"}
    case = _ended(_of(plan.ANALYSIS), {**result, **report})
    assert len(wrong([case], _Watched([case]))) == faults


def _path() -> LearningPathResult:
    modules = [
        LearningModule(
            id=name, topic=f"<b>{name}</b>", difficulty="beginner", summary="", hours=2, outcomes=[], prerequisites=[], resources=[],
            starts_on_day=1, ends_on_day=7,
        )
        for name in ("a", "b")
    ]  # fmt: skip
    first = [LearningSession(module_id="a", focus="study", minutes=90), LearningSession(module_id="a", focus="practice", minutes=30)]
    second = [LearningSession(module_id="b", focus="study", minutes=120)]
    days = [LearningDay(day=1, sessions=first), LearningDay(day=3, sessions=second)]
    return LearningPathResult(
        path_id=uuid4(), version=1, category="mills", level="beginner", level_reasoning="", assumed=[], modules=modules,
        modules_without_resources=[], weeks=[LearningWeek(week=1, days=days)],
        total_hours=4, estimated_duration_days=7, resources_count=0, generator="local", model="m",
    )  # fmt: skip


def test_the_weeks_of_a_plan_add_up() -> None:
    (week,) = weeks(_path())
    assert (week.days, [(number, hours) for number, _, hours in week.parts]) == (2, [(0, 2.0), (1, 2.0)])


def test_a_page_can_be_made_of_whatever_has_come_back() -> None:
    cases = _cases()
    made = page(cases, Shown(1.0, ["nothing <i>ended</i>"]))
    assert "nothing &lt;i&gt;ended&lt;/i&gt;" in made
    assert list(story(cases))


def test_text_from_outside_is_no_markup_on_the_page() -> None:
    case = _ended(_of(plan.PATH), _path().model_dump())
    assert wrong([case], _Watched([case])) == []
    made = page([case], Shown(1.0))
    assert "<b>a</b>" not in made
    assert "&lt;b&gt;a&lt;/b&gt;" in made


def test_the_page_loads_nothing_from_elsewhere() -> None:
    case = _ended(_of(plan.IMAGES), None)
    sha256 = "0" * 64
    case.completion = {
        "error": None,
        "completed_at": datetime.now(UTC),
        "result": {
            "key": "images/x.png", "url": "http://elsewhere/x.png", "content_type": "image/png", "size_bytes": 1, "sha256": sha256,
            "width": 1, "height": 1, "backend": "local", "model": "m", "generation_seconds": 0.1,
        },
    }  # fmt: skip
    made = page([case], Shown(1.0, images={sha256: "data:image/png;base64,AA=="}, report="report.html"))
    assert set(re.findall(r'\bsrc="([^"]*)"', made)) == {"data:image/png;base64,AA==", "report.html"}
    assert "@import" not in made


def test_what_strangers_have_sent_is_shown_on_the_page_and_not_run() -> None:
    hostile = "<script>alert(1)</script>\" onerror='x"
    case = _ended(_of(plan.IMAGES), None)
    case.completion = {"result": None, "error": {"code": hostile, "message": hostile}, "completed_at": datetime.now(UTC)}
    made = page([case], Shown(1.0, wrong=[hostile]))
    assert "&lt;script&gt;alert(1)" in made
    assert "<script" not in made
    assert "onerror='x" not in made
