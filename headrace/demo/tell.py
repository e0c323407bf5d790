"""What the demo says when everything has ended."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from headrace.demo import plan
from headrace.demo.output import FOLDER
from headrace.demo.page import first_result, of_section, weeks
from headrace.demo.plan import Case, Purchase, Steered
from schemas.analysis import DataAnalysisResult
from schemas.ids import workflow_id
from schemas.learning import LearningPathResult
from schemas.maintenance import MaintenanceResult
from schemas.transaction import TransactionResult


def story(cases: list[Case]) -> Iterator[str]:
    """The path as a plan, and what else a state alone does not show."""
    path = first_result(cases, plan.PATH, LearningPathResult)
    if path is not None:
        yield f"{plan.PATH}: {path.category}, {path.level}, {path.total_hours} hours"
        for week in weeks(path):
            yield f"  week {week.week:<3} " + ", ".join(f"{topic} {hours:g} h" for _, topic, hours in week.parts)
    analysis = first_result(cases, plan.ANALYSIS, DataAnalysisResult)
    if analysis is not None:
        yield f"{plan.ANALYSIS}: {analysis.clusters} groups in {analysis.rows:,} rows, as many as were put in"
    for case in of_section(cases, plan.SAGA):
        if isinstance(case, Purchase):
            yield f"{case.about.capitalize()}: {case.before} before, {case.after} after{_taken_back(case)}"
    for case in of_section(cases, plan.STEERING):
        if isinstance(case, Steered):
            yield f"{case.about.capitalize()}:"
            yield from (f"  {at:5.2f} s  {what}" for at, what in case.moments)
    done = first_result(cases, plan.MAINTENANCE, MaintenanceResult)
    if done is not None:
        yield (
            f"{plan.MAINTENANCE}: {done.files_cleaned} files removed, {done.records_archived} rows of history archived, "
            f"{done.days_recomputed} day{'' if done.days_recomputed == 1 else 's'} counted"
        )


def _taken_back(case: Case) -> str:
    result = case.result(TransactionResult)
    steps = [step.compensation for step in result.compensations if step.outcome == "compensated"] if result else []
    return f", taken back by {', '.join(steps)}" if steps else ""


def tell(console: Console, ui: str, cases: list[Case], missing: list[str], seconds: float, *, stays: bool) -> None:
    """`stays`: the system runs elsewhere, so there is nothing to start again."""
    console.print()
    for line in story(cases):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print()
    if missing:
        console.print("[bold red]Not as it must be:[/]")
        for line in missing:
            console.print(f"  - {line}", markup=False)
    else:
        console.print(f"[bold green]All {len(cases)} records ended as they must[/], within {seconds:.1f} s of the first.")
    first = workflow_id("image", cases[0].event_id) if cases[0].event_id else ""
    console.print(f"All of it on one page, with the report:  {FOLDER / 'index.html'}", highlight=False)
    console.print(f"One run in Temporal's UI:  {ui}/namespaces/default/workflows/{first}", highlight=False, soft_wrap=True)
    command = _command()
    start = "" if stays else f"{command} up --detach  keeps the system running, with these runs in it; then"
    first_event = cases[0].event_id
    console.print(
        f"To look further:  {start}\n  {command} explain {first_event}\n  {command} completions image --event-id {first_event} --json",
        highlight=False,
        soft_wrap=True,
    )


def _command() -> Path:
    """The command that was installed with this Python, as it is called from here."""
    installed = Path(sysconfig.get_path("scripts")) / "headrace"
    return installed.relative_to(Path.cwd()) if installed.is_relative_to(Path.cwd()) else installed
