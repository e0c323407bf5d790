"""A path, put together from what the steps gave."""

from __future__ import annotations

from uuid import UUID

from schemas.learning import LearningModule, LearningPathResult, ModuleWithoutResources
from workers.learning.models import FoundResources, Schedule, SkillAnalysis, Syllabus

Searched = FoundResources | str
"""What was found, or why nothing was."""

_NOTHING = "Nothing was found for this topic."


def assembled(
    path_id: UUID, analysis: SkillAnalysis, syllabus: Syllabus, searched: dict[str, Searched], schedule: Schedule
) -> LearningPathResult:
    """The path in the order of its schedule; its version is 0 until the database has given it one."""
    by_id = {module.id: module for module in syllabus.modules}
    found = {name: one.resources if isinstance(one, FoundResources) else [] for name, one in searched.items()}
    modules = [
        LearningModule(
            **by_id[span.module_id].model_dump(),
            resources=found[span.module_id],
            starts_on_day=span.starts_on_day,
            ends_on_day=span.ends_on_day,
        )
        for span in schedule.spans
    ]
    missing = [module.id for module in modules if not module.resources]
    why = {name: one if isinstance(one, str) else _NOTHING for name, one in searched.items()}
    return LearningPathResult(
        path_id=path_id,
        version=0,
        category=analysis.category,
        level=analysis.level,
        level_reasoning=analysis.reasoning,
        assumed=syllabus.assumed,
        modules=modules,
        modules_without_resources=[ModuleWithoutResources(module_id=name, reason=why[name]) for name in missing],
        weeks=schedule.weeks,
        total_hours=sum(module.hours for module in modules),
        estimated_duration_days=schedule.duration_days,
        resources_count=sum(len(module.resources) for module in modules),
        generator=syllabus.generator,
        model=syllabus.model,
    )
