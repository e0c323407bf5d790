"""`demo-output/index.html`: one page that loads nothing but the report beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import jinja2
from pydantic_core import to_jsonable_python

from headrace.demo import plan
from headrace.demo.plan import Case
from schemas.analysis import DataAnalysisResult
from schemas.image import BatchImageGenerationRequested, BatchImageGenerationResult, ImageGenerationResult
from schemas.learning import LearningPathResult
from schemas.maintenance import MaintenanceResult
from schemas.transaction import TransactionResult


@dataclass(frozen=True, slots=True)
class Counted:
    """A row of `daily_analytics`."""

    day: date
    domain: str
    backend: str
    total: int
    succeeded: int
    p50: float | None
    p95: float | None
    """Seconds from request to outcome."""


@dataclass(slots=True)
class Shown:
    """What the page has beside the cases."""

    seconds: float
    """All of it, from the first record to the last answer."""
    wrong: list[str] = field(default_factory=list)
    """What is not as it must be."""
    images: dict[str, str] = field(default_factory=dict)
    """Data URLs by SHA-256; an image that is missing there is shown as missing."""
    report: str | None = None
    """The analysis's report, relative to the page."""
    days: list[Counted] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class WeekOfModules:
    """A week of a learning path."""

    week: int
    days: int
    parts: list[tuple[int, str, float]]
    """Number of the module from 0, its topic, hours."""


def page(cases: list[Case], shown: Shown) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["json"] = _json
    environment.filters["seconds"] = lambda value: "" if value is None else f"{value:.2f} s"
    images = of_section(cases, plan.IMAGES)
    path = first_result(cases, plan.PATH, LearningPathResult)
    return environment.get_template("page.html.jinja").render(
        cases=cases,
        shown=shown,
        good=[(case, picture_of(case, shown)) for case in images if picture_of(case, shown)],
        odd=[(case, no_answer(case)) for case in images if not picture_of(case, shown)],
        batch=of_section(cases, plan.BATCH),
        prompts=_prompts(cases, shown),
        path_case=of_section(cases, plan.PATH),
        path=path,
        weeks=weeks(path) if path else [],
        analysis_case=of_section(cases, plan.ANALYSIS),
        analysis=first_result(cases, plan.ANALYSIS, DataAnalysisResult),
        purchases=[(case, case.result(TransactionResult)) for case in of_section(cases, plan.SAGA)],
        steered=[(case, picture_of(case, shown)) for case in of_section(cases, plan.STEERING)],
        maintenance_case=of_section(cases, plan.MAINTENANCE),
        maintenance=first_result(cases, plan.MAINTENANCE, MaintenanceResult),
    )


def of_section(cases: list[Case], section: str) -> list[Case]:
    return [case for case in cases if case.section == section]


def first_result(cases: list[Case], section: str, model: type[plan.M]) -> plan.M | None:
    return next((result for case in of_section(cases, section) if (result := case.result(model))), None)


def weeks(path: LearningPathResult) -> list[WeekOfModules]:
    """The plan by weeks: which modules, for how many hours."""
    numbers = {module.id: number for number, module in enumerate(path.modules)}
    made = []
    for week in path.weeks:
        minutes: dict[int, int] = {}
        for session in (session for day in week.days for session in day.sessions):
            number = numbers[session.module_id]
            minutes[number] = minutes.get(number, 0) + session.minutes
        parts = [(number, path.modules[number].topic, total / 60) for number, total in minutes.items()]
        made.append(WeekOfModules(week.week, len(week.days), parts))
    return made


def picture_of(case: Case, shown: Shown) -> str | None:
    """The data URL of a case's one image."""
    if case.kind != "request":
        return None
    result = case.result(ImageGenerationResult)
    return shown.images.get(result.sha256) if result else None


def _prompts(cases: list[Case], shown: Shown) -> list[dict[str, Any]]:
    """A batch's prompts, each with its image or its error."""
    made: list[dict[str, Any]] = []
    for case in of_section(cases, plan.BATCH):
        result = case.result(BatchImageGenerationResult)
        if result is None or not isinstance(case.request, BatchImageGenerationRequested):
            continue
        errors = {error.index: error for error in result.errors}
        for index, (prompt, image) in enumerate(zip(case.request.prompts, result.images, strict=True)):
            picture = shown.images.get(image.sha256) if image else None
            made.append({"index": index, "prompt": prompt, "picture": picture, "error": errors.get(index)})
    return made


def no_answer(case: Case) -> str:
    """What became of a record that has no picture."""
    if case.kind == "repeat":
        return "One event is one workflow: the first request's completion stands for this one too."
    error = (case.completion or {}).get("error")
    if isinstance(error, dict):
        return str(error["message"])
    if case.kind == "unreadable":
        return "Nobody to answer: the bytes name no event. They wait, unchanged, in image.requests.dlq."
    return "No picture came back."


def _json(value: Any) -> str:
    return json.dumps(to_jsonable_python(value), indent=1, ensure_ascii=False)
