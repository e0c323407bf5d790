"""The learning activities. Light to import: the database, the generator and the source of resources are handed in by the wiring."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol
from uuid import UUID

from temporalio import activity
from temporalio.exceptions import ApplicationError

from schemas.errors import FailureType
from schemas.learning import LearningResource
from workers.heartbeat import heartbeat
from workers.learning import schedule
from workers.learning.logic import SyllabusError, judge, suited
from workers.learning.models import (
    EarlierPath,
    FoundResources,
    ResourceQuery,
    SavedPath,
    SavePath,
    Schedule,
    ScheduleBrief,
    SkillAnalysis,
    SkillQuestion,
    Syllabus,
    SyllabusBrief,
)


class Paths(Protocol):
    """The paths that were made. Each raises `ApplicationError(DATABASE_UNAVAILABLE)`."""

    async def earlier(self, user_id: str, category: str, *, but: UUID) -> list[EarlierPath]:
        """The user's paths of a category, but that of one event."""
        ...

    async def save(self, path: SavePath) -> SavedPath:
        """Stores a path once: again, or at the same time elsewhere, it gives the same version."""
        ...


class Generator(Protocol):
    """Composes modules. Raises `ApplicationError` with a `FailureType`."""

    async def generate(self, brief: SyllabusBrief) -> Syllabus: ...


class Resources(Protocol):
    """Finds what a topic is learned from, nothing when there is nothing. Raises `ApplicationError(RESOURCES_UNAVAILABLE)`."""

    async def find(self, query: ResourceQuery) -> list[LearningResource]: ...


class LearningActivities:
    def __init__(self, paths: Paths, generator: Generator, resources: Resources, name_of: Callable[[str], str]) -> None:
        """`name_of` gives what a category is called, whichever of its names was used."""
        self._paths = paths
        self._generator = generator
        self._resources = resources
        self._name_of = name_of

    def all(self) -> Sequence[Callable[..., Any]]:
        """What a worker registers."""
        return [
            self.analyze_user_skill_level,
            self.generate_learning_modules,
            self.fetch_learning_resources,
            self.create_personalized_schedule,
            self.save_learning_path,
        ]

    @activity.defn(name="analyze_user_skill_level")
    async def analyze_user_skill_level(self, question: SkillQuestion) -> SkillAnalysis:
        category = self._name_of(question.category)
        async with heartbeat():
            earlier = await self._paths.earlier(question.user_id, category, but=question.event_id)
        level, reasoning = judge(category, question.stated, earlier, question.at)
        return SkillAnalysis(category=category, level=level, reasoning=reasoning)

    @activity.defn(name="generate_learning_modules")
    async def generate_learning_modules(self, brief: SyllabusBrief) -> Syllabus:
        async with heartbeat():
            return await self._generator.generate(brief)

    @activity.defn(name="fetch_learning_resources")
    async def fetch_learning_resources(self, query: ResourceQuery) -> FoundResources:
        async with heartbeat():
            return FoundResources(resources=suited(await self._resources.find(query), query.learning_style))

    @activity.defn(name="create_personalized_schedule")
    async def create_personalized_schedule(self, brief: ScheduleBrief) -> Schedule:
        try:
            return schedule.create(brief)
        except SyllabusError as error:
            raise ApplicationError(
                f"The modules cannot be scheduled: {error}", type=FailureType.INVALID_SYLLABUS, non_retryable=True
            ) from error

    @activity.defn(name="save_learning_path")
    async def save_learning_path(self, path: SavePath) -> SavedPath:
        async with heartbeat():
            return await self._paths.save(path)
