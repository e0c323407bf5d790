"""One learning path for one request."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from schemas import ids, names
    from schemas.learning import LearningPathRequested, LearningPathResult
    from schemas.request import Accepted
    from workers.completion import concluded, sort_failure
    from workers.learning.activities import LearningActivities
    from workers.learning.models import (
        Module,
        ResourceQuery,
        SavePath,
        ScheduleBrief,
        SkillAnalysis,
        SkillQuestion,
        Syllabus,
        SyllabusBrief,
    )
    from workers.learning.path import Searched, assembled

_COMPLETED = "headrace.learning.LearningPathCompleted"

# The reference's time-outs and retries; the heartbeat is ours, so that a cancel reaches the step and a killed worker costs ten seconds.
_HEARTBEAT = timedelta(seconds=10)
_SEARCHES = 4
"""In flight at one time."""


@workflow.defn(name="LearningPathWorkflow")
class LearningPathWorkflow:
    """Analyses, generates, searches, schedules, saves; then tells, whatever happened."""

    @workflow.run
    async def run(self, accepted: Accepted[LearningPathRequested]) -> LearningPathResult:
        request = accepted.request
        return await concluded(
            accepted,
            _COMPLETED,
            self._make(request, accepted.generation),
            history=lambda _: {"prompt": request.category},
            send=names.NOTIFY_USER,
        )

    async def _make(self, request: LearningPathRequested, generation: int) -> LearningPathResult:
        analysis = await workflow.execute_activity_method(
            LearningActivities.analyze_user_skill_level,
            SkillQuestion(
                event_id=request.event_id,
                user_id=request.user_id,
                category=request.category,
                stated=request.skill_level,
                at=workflow.now(),
            ),
            start_to_close_timeout=timedelta(seconds=30),
            heartbeat_timeout=_HEARTBEAT,
            retry_policy=RetryPolicy(maximum_attempts=3),
        )
        # Also from the shipped curriculum a regular activity: which generator it is, is the worker's setting and not in the history.
        syllabus = await workflow.execute_activity_method(
            LearningActivities.generate_learning_modules,
            SyllabusBrief(
                category=analysis.category,
                skill_level=analysis.level,
                time_commitment_hours=request.time_commitment_hours,
                learning_style=request.learning_style,
            ),
            start_to_close_timeout=timedelta(seconds=60),
            heartbeat_timeout=_HEARTBEAT,
            retry_policy=RetryPolicy(maximum_attempts=3, initial_interval=timedelta(seconds=5), maximum_interval=timedelta(seconds=30)),
        )
        searched = await _search(request, analysis, syllabus)
        schedule = await workflow.execute_local_activity_method(
            LearningActivities.create_personalized_schedule,
            ScheduleBrief(
                modules=syllabus.modules, time_commitment_hours=request.time_commitment_hours, learning_style=request.learning_style
            ),
            start_to_close_timeout=timedelta(seconds=20),
            retry_policy=RetryPolicy(maximum_attempts=2),
        )
        return await _save(request, generation, assembled(ids.path_id(request.event_id), analysis, syllabus, searched, schedule))


async def _search(request: LearningPathRequested, analysis: SkillAnalysis, syllabus: Syllabus) -> dict[str, Searched]:
    """What was found for each module, or why nothing was: a search that fails does not fail the path."""
    free = asyncio.Semaphore(_SEARCHES)

    async def search(module: Module) -> Searched:
        async with free:
            try:
                return await workflow.execute_activity_method(
                    LearningActivities.fetch_learning_resources,
                    ResourceQuery(
                        category=analysis.category, topic=module.topic, difficulty=module.difficulty, learning_style=request.learning_style
                    ),
                    start_to_close_timeout=timedelta(seconds=45),
                    heartbeat_timeout=_HEARTBEAT,
                    retry_policy=RetryPolicy(maximum_attempts=2),
                )
            except ActivityError as error:
                if is_cancelled_exception(error):
                    raise
                return sort_failure(error)[1].message

    found = await asyncio.gather(*(search(module) for module in syllabus.modules))
    return {module.id: one for module, one in zip(syllabus.modules, found, strict=True)}


async def _save(request: LearningPathRequested, generation: int, path: LearningPathResult) -> LearningPathResult:
    saved = await workflow.execute_activity_method(
        LearningActivities.save_learning_path,
        SavePath(
            event_id=request.event_id,
            user_id=request.user_id,
            time_commitment_hours=request.time_commitment_hours,
            learning_style=request.learning_style,
            at=workflow.now(),
            path=path,
            generation=generation,
        ),
        start_to_close_timeout=timedelta(seconds=30),
        heartbeat_timeout=_HEARTBEAT,
        retry_policy=RetryPolicy(maximum_attempts=5, initial_interval=timedelta(seconds=2), maximum_interval=timedelta(seconds=30)),
    )
    return path.model_copy(update={"path_id": saved.path_id, "version": saved.version})
