"""The learning domain's records."""

import re
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints

from schemas.completion import Completion
from schemas.request import Model, Request

SkillLevel = Literal["beginner", "intermediate", "advanced"]
LearningStyle = Literal["balanced", "reading", "visual", "hands_on"]
ResourceKind = Literal["documentation", "article", "book", "course", "video", "exercise", "tool"]
Focus = Literal["study", "practice"]

MOST_HOURS_A_WEEK = 80

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def _one_line(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("a category is one line without control characters")
    if not any(char.isalnum() for char in text):
        raise ValueError("the category has no letter or digit: name what is to be learned")
    return text


Category = Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(_one_line)]


class LearningPathRequested(Request):
    category: Category
    skill_level: SkillLevel
    time_commitment_hours: Annotated[int, Field(ge=1, le=MOST_HOURS_A_WEEK)]
    """Hours a week."""
    learning_style: LearningStyle = "balanced"


class LearningResource(Model):
    title: str
    url: str
    provider: str
    kind: str


class LearningModule(Model):
    """One topic of a path, with what is learned from and when."""

    id: str
    topic: str
    difficulty: str
    summary: str
    hours: int
    outcomes: list[str]
    prerequisites: list[str]
    """IDs of modules of the same path, all of which end before this one starts."""
    resources: list[LearningResource]
    starts_on_day: int
    ends_on_day: int
    """Days are counted from 1, the day that the learner begins on; every seventh ends a week."""


class LearningSession(Model):
    module_id: str
    focus: str
    minutes: int


class LearningDay(Model):
    day: int
    sessions: list[LearningSession]


class LearningWeek(Model):
    week: int
    days: list[LearningDay]


class ModuleWithoutResources(Model):
    module_id: str
    reason: str


class LearningPathResult(Model):
    """A learning path as it was stored."""

    path_id: UUID
    version: int
    """1 for the user's first path of this category, then 2, 3, ..."""
    category: str
    level: str
    level_reasoning: str
    assumed: list[str]
    """Topics that the path takes for known."""
    modules: list[LearningModule]
    modules_without_resources: list[ModuleWithoutResources]
    weeks: list[LearningWeek]
    total_hours: int
    estimated_duration_days: int
    resources_count: int
    generator: str
    model: str


LearningPathCompleted = Completion[LearningPathResult]
