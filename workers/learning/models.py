"""What the learning activities take and give. New fields get defaults: runs in flight hold the old ones."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from schemas.learning import LearningPathResult, LearningResource, LearningStyle, LearningWeek, SkillLevel
from schemas.request import Generation, Model


class SkillQuestion(Model):
    event_id: UUID
    user_id: str
    category: str
    stated: SkillLevel
    at: datetime
    """The moment for which the answer holds: an attempt that is repeated later gives the same."""


class EarlierPath(Model):
    """A path that the user has had in a category."""

    version: int
    level: SkillLevel
    created_at: datetime
    duration_days: int


class SkillAnalysis(Model):
    category: str
    """As it is called from here on: the curriculum's name, or what was asked for with its spaces in order."""
    level: SkillLevel
    reasoning: str


class SyllabusBrief(Model):
    """What a generator is asked for."""

    category: str
    skill_level: SkillLevel
    time_commitment_hours: int
    learning_style: LearningStyle


class Module(Model):
    id: str
    topic: str
    difficulty: SkillLevel
    summary: str
    hours: int
    outcomes: list[str]
    prerequisites: list[str]


class Syllabus(Model):
    """Modules without a circle in their prerequisites, each topic once, each with hours."""

    modules: list[Module]
    assumed: list[str]
    generator: str
    model: str


class _Answer(BaseModel):
    """Of a language model, whose schema says that there is nothing else: what is not asked for is not understood."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ProposedModule(_Answer):
    """A module as a language model answers it: nothing is known of it but the types."""

    key: str
    topic: str
    difficulty: SkillLevel
    summary: str
    hours: int
    outcomes: list[str]
    prerequisites: list[str]


class Proposal(_Answer):
    """The schema that a language model's answer must have."""

    assumed: list[str]
    modules: list[ProposedModule]


class ResourceQuery(Model):
    category: str
    topic: str
    difficulty: SkillLevel
    learning_style: LearningStyle


class FoundResources(Model):
    resources: list[LearningResource]


class ScheduleBrief(Model):
    modules: list[Module]
    time_commitment_hours: int
    learning_style: LearningStyle


class Span(Model):
    """When a module is learned; days as in `schemas.learning.LearningModule`."""

    module_id: str
    starts_on_day: int
    ends_on_day: int


class Schedule(Model):
    spans: list[Span]
    """In the order in which they are learned."""
    weeks: list[LearningWeek]
    duration_days: int


class SavePath(Model):
    event_id: UUID
    user_id: str
    time_commitment_hours: int
    learning_style: LearningStyle
    at: datetime
    path: LearningPathResult
    """Its version is 0: the database gives it."""
    generation: Generation = 1


class SavedPath(Model):
    path_id: UUID
    version: int
