"""The shipped curriculum: categories of topics in levels, with hours, prerequisites and resources. One TOML file for each category."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from schemas.learning import LearningResource, ResourceKind, SkillLevel
from workers.learning.logic import LEVELS, WEEKS_AIMED_AT, SyllabusError, in_order, key
from workers.learning.models import Module, Syllabus, SyllabusBrief

SHIPPED = Path(__file__).parent / "categories"
NAME = "headrace-curriculum-1"

_SIMILAR = 0.5
"""Share of words that a topic from elsewhere must have in common with one of ours to get its resources."""
_FILLING = frozenset(
    {"a", "an", "and", "as", "at", "by", "for", "from", "in", "into", "its", "of", "on", "or", "the", "to", "with", "your"}
    | {"introduction", "basics", "fundamentals", "advanced"}
)
"""Words that make no two topics alike."""


class CurriculumError(Exception):
    """The curriculum cannot be used; the text says where and why."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Resource(_Part):
    title: str = Field(min_length=1, max_length=120)
    url: str = Field(pattern=r"^https?://[!-~]+$", max_length=300)
    provider: str = Field(min_length=1, max_length=60)
    kind: ResourceKind


class Topic(_Part):
    id: str = Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")
    title: str = Field(min_length=1, max_length=100)
    hours: int = Field(ge=1, le=40)
    needs: list[str] = []
    """IDs of topics of the same category, of this level or of one below."""
    summary: str = Field(min_length=1, max_length=300)
    outcomes: list[Annotated[str, Field(max_length=120)]] = Field(min_length=1, max_length=4)
    resources: list[_Resource] = Field(min_length=1, max_length=4)


class Category(_Part):
    name: str = Field(min_length=1, max_length=100)
    aliases: list[str]
    beginner: list[Topic] = Field(min_length=1)
    intermediate: list[Topic] = Field(min_length=1)
    advanced: list[Topic] = Field(min_length=1)

    @model_validator(mode="after")
    def _needs_are_known(self) -> Category:
        known: set[str] = set()
        for level in LEVELS:
            topics = self.topics(level)
            if len({topic.id for topic in topics} | known) < len(topics) + len(known):
                raise ValueError(f"two topics of {self.name} have the same ID")
            known |= {topic.id for topic in topics}
            for topic in topics:
                if unknown := set(topic.needs) - known:
                    raise ValueError(f"{topic.id} needs {', '.join(sorted(unknown))}, which neither {level} nor a level below has")
        try:
            in_order({topic.id: topic.needs for topic in self.all()})
        except SyllabusError as error:
            raise ValueError(str(error)) from error
        return self

    def topics(self, level: SkillLevel) -> list[Topic]:
        return {"beginner": self.beginner, "intermediate": self.intermediate, "advanced": self.advanced}[level]

    def all(self) -> Iterator[Topic]:
        return (topic for level in LEVELS for topic in self.topics(level))


class Curriculum:
    """Raises `CurriculumError` for two categories of one name."""

    def __init__(self, categories: Iterable[Category]) -> None:
        self._by_key: dict[str, Category] = {}
        self.categories = tuple(categories)
        for category in self.categories:
            for name in {key(category.name), *map(key, category.aliases)}:
                if self._by_key.setdefault(name, category) is not category:
                    raise CurriculumError(f"two categories are called {name}: rename one")

    def find(self, name: str) -> Category | None:
        return self._by_key.get(key(name))

    def name_of(self, name: str) -> str:
        """What a category is called here; one that is not here, as it is with its spaces in order."""
        category = self.find(name)
        return category.name if category else " ".join(name.split())

    def names(self) -> list[str]:
        return sorted(category.name for category in self.categories)

    def resources(self, category: str, topic: str) -> list[LearningResource]:
        """Those of the topic, or of the one most like it; a topic of the category itself comes first. None fits: empty."""
        home = self.find(category)
        wanted = _words(topic)
        best, chosen = 0.0, None
        for number, (words, owner, candidate) in enumerate(self._index):
            shared = len(wanted & words) / max(len(wanted | words), 1)
            if shared >= _SIMILAR and (score := shared + (owner is home) - number * 1e-6) > best:
                best, chosen = score, candidate
        return [LearningResource(**resource.model_dump()) for resource in chosen.resources] if chosen else []

    @cached_property
    def _index(self) -> list[tuple[frozenset[str], Category, Topic]]:
        return [(_words(topic.title), category, topic) for category in self.categories for topic in category.all()]


def _words(text: str) -> frozenset[str]:
    return frozenset(key(text).split()) - _FILLING or frozenset(key(text).split())


def load(folder: Path = SHIPPED) -> Curriculum:
    """Raises `CurriculumError`."""
    return Curriculum([_read(path) for path in sorted(folder.glob("*.toml"))])


def _read(path: Path) -> Category:
    try:
        return Category.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise CurriculumError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValidationError) as error:
        raise CurriculumError(f"{path} is no category of the curriculum: {error}") from error


def compose(category: Category, brief: SyllabusBrief) -> Syllabus:
    """The topics of the level that fit into half a year of the learner's hours, each with those that it needs; at least one."""
    budget = brief.time_commitment_hours * WEEKS_AIMED_AT
    topics = {topic.id: topic for topic in category.topics(brief.skill_level)}
    chosen: dict[str, Topic] = {}
    for name in in_order({topic.id: [need for need in topic.needs if need in topics] for topic in topics.values()}):
        topic = topics[name]
        fits = sum(other.hours for other in chosen.values()) + topic.hours <= budget
        if (fits or not chosen) and all(need in chosen or need not in topics for need in topic.needs):
            chosen[name] = topic
    titles = {topic.id: topic.title for topic in category.all()}
    assumed = dict.fromkeys(titles[need] for topic in chosen.values() for need in topic.needs if need not in topics)
    modules = [_module(topic, brief.skill_level, chosen) for topic in chosen.values()]
    return Syllabus(modules=modules, assumed=list(assumed), generator="local", model=NAME)


def _module(topic: Topic, level: SkillLevel, chosen: dict[str, Topic]) -> Module:
    return Module(
        id=topic.id,
        topic=topic.title,
        difficulty=level,
        summary=topic.summary,
        hours=topic.hours,
        outcomes=topic.outcomes,
        prerequisites=[need for need in topic.needs if need in chosen],
    )
