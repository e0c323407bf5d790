"""What is not as it must be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Protocol
from uuid import UUID

from headrace.demo import plan
from headrace.demo.plan import Case, Purchase, Steered
from schemas.analysis import DataAnalysisResult
from schemas.completion import Status
from schemas.errors import FailureType
from schemas.image import BatchImageGenerationResult
from schemas.learning import LearningPathResult
from schemas.maintenance import MaintenanceResult
from schemas.transaction import TransactionRequested, TransactionResult


class Counts(Protocol):
    """`headrace.demo.watch.Watch`."""

    @property
    def runs(self) -> Counter[UUID]: ...
    @property
    def completions(self) -> Counter[UUID]: ...


def wrong(cases: list[Case], counts: Counts) -> list[str]:
    """Sentences; none when every record ended as it must, once, with what its user asked for."""
    found: list[str] = []
    for case in cases:
        if case.state != case.expected:
            found.append(f"{case.about!r} ended as '{case.state}', not '{case.expected}'")
            continue
        found += [f"{case.about!r} {what}" for what in (*_counts(case, counts), *_content(case))]
    return found


def _counts(case: Case, counts: Counts) -> Iterator[str]:
    if case.kind == "request" and case.event_id is not None:
        if counts.runs[case.event_id] != 1:
            yield f"has {counts.runs[case.event_id]} runs, not 1"
        if counts.completions[case.event_id] != 1:
            yield f"has {counts.completions[case.event_id]} completions, not 1"


def _content(case: Case) -> Iterator[str]:
    looks = _LOOKS.get(case.section)
    return looks(case) if looks else iter(())


def _batch(case: Case) -> Iterator[str]:
    result = case.result(BatchImageGenerationResult)
    missing = [index for index, image in enumerate(result.images) if image is None] if result else None
    if result is None or missing != [plan.BAD_PROMPT]:
        yield f"has no image at {missing}, and must have none at {plan.BAD_PROMPT} alone"
    elif [(error.index, error.code) for error in result.errors] != [(plan.BAD_PROMPT, FailureType.INVALID_PROMPT)]:
        yield f"does not say why prompt {plan.BAD_PROMPT} failed: {result.errors}"


def _path(case: Case) -> Iterator[str]:
    result = case.result(LearningPathResult)
    if result is None or not result.modules:
        yield "is a path without modules"
        return
    planned = sum(session.minutes for week in result.weeks for day in week.days for session in day.sessions)
    if planned != 60 * result.total_hours:
        yield f"plans {planned} minutes for {result.total_hours} hours"


def _analysis(case: Case) -> Iterator[str]:
    result = case.result(DataAnalysisResult)
    if result is None or result.clusters != plan.EXPECTED_GROUPS:
        yield f"found {result and result.clusters} groups, and the data have {plan.EXPECTED_GROUPS}"


def _saga(case: Case) -> Iterator[str]:
    result = case.result(TransactionResult)
    if not isinstance(case, Purchase) or not isinstance(case.request, TransactionRequested) or result is None:
        yield "is no purchase with a result"
        return
    spent = case.request.amount if case.expected == Status.SUCCEEDED else 0
    if case.before != case.granted or case.after != case.granted - spent:
        yield f"left a balance of {case.after}, from {case.before}: it must be {case.granted - spent}, from {case.granted}"
    taken_back = {step.step: step.outcome for step in result.compensations}
    if case.sold_out and taken_back.get("reserve_resources") != "compensated":
        yield f"was taken back as {taken_back}, without its hold"


def _steering(case: Case) -> Iterator[str]:
    if isinstance(case, Steered) and not case.held:
        yield "was never seen to stand still"


def _maintenance(case: Case) -> Iterator[str]:
    result = case.result(MaintenanceResult)
    if result is None or not result.analytics_updated:
        yield "did not count every day that had changed"


_LOOKS: dict[str, Callable[[Case], Iterator[str]]] = {
    plan.BATCH: _batch,
    plan.PATH: _path,
    plan.ANALYSIS: _analysis,
    plan.SAGA: _saga,
    plan.STEERING: _steering,
    plan.MAINTENANCE: _maintenance,
}
