"""The learning domain's decisions, without a client or a server: the level, what a model proposes, which resources come first."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import get_args

from schemas.errors import bounded
from schemas.learning import LearningResource, LearningStyle, ResourceKind, SkillLevel
from workers.learning.models import EarlierPath, Module, Proposal, ProposedModule, Syllabus

LEVELS: tuple[SkillLevel, ...] = get_args(SkillLevel)
WEEKS_AIMED_AT = 26
"""A path of half a year is as long as one should plan ahead."""
WEEKS_AT_THE_MOST = 52
MOST_MODULES = 24
MOST_RESOURCES = 4
"""For one module."""

_MOST_MODULE_HOURS = 60
_MOST_OUTCOMES = 4
_MOST_ASSUMED = 10
_TOPIC_CHARACTERS = 100
_SUMMARY_CHARACTERS = 300
_OUTCOME_CHARACTERS = 120

_FIRST_KINDS: dict[LearningStyle, tuple[ResourceKind, ...]] = {
    "balanced": (),
    "reading": ("book", "article", "documentation"),
    "visual": ("video", "course"),
    "hands_on": ("exercise", "tool", "course"),
}


class SyllabusError(Exception):
    """A proposal is no syllabus; the text says why."""


def key(text: str) -> str:
    """What two spellings of one category or topic have in common: case, width, hyphens and spaces do not count."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(char if char.isalnum() or char in "+#" else " " for char in folded).split()) or folded


def judge(category: str, stated: SkillLevel, earlier: Sequence[EarlierPath], at: datetime) -> tuple[SkillLevel, str]:
    """The level that a path is made for, and why.

    The stated level counts, but ground is not covered twice: a level is covered when the planned time of a path of that level is over.
    """
    over = [path for path in earlier if path.created_at + timedelta(days=path.duration_days) <= at]
    covered = {path.level for path in over}
    above = LEVELS[LEVELS.index(stated) :]
    level = next((level for level in above if level not in covered), LEVELS[-1])
    if not earlier:
        return level, f"There is no earlier path in {category}: the stated level, {stated}, counts."
    if stated not in covered:
        return level, f"The planned time of no earlier {stated} path in {category} is over: the stated level counts."
    last = max((path for path in over if path.level == stated), key=lambda path: path.version)
    said = f"The planned time of path {last.version} in {category}, {stated}, is over"
    if level in covered:
        return level, f"{said}, and so are all levels above: {level} is gone through again."
    return level, f"{said}: {level} is the next level that has not been gone through."


def checked(proposal: Proposal, weekly_hours: int, *, generator: str, model: str) -> Syllabus:
    """The syllabus that a model proposes, with its texts bounded. Raises `SyllabusError`."""
    proposed = proposal.modules
    if not 1 <= len(proposed) <= MOST_MODULES:
        raise SyllabusError(f"it has {len(proposed)} modules, and 1 to {MOST_MODULES} are wanted")
    ids = {module.key: f"m{number}" for number, module in enumerate(proposed, 1)}
    if len(ids) < len(proposed):
        raise SyllabusError("two modules have the same key")
    if len({key(_line(module.topic)) for module in proposed}) < len(proposed):
        raise SyllabusError("two modules have the same topic")
    modules = [_module(module, ids) for module in proposed]
    most = weekly_hours * WEEKS_AT_THE_MOST
    if (hours := sum(module.hours for module in modules)) > most:
        raise SyllabusError(f"it takes {hours} hours, and {most} are the most at {weekly_hours} hours a week")
    in_order({module.id: module.prerequisites for module in modules})
    assumed = [line for text in proposal.assumed[:_MOST_ASSUMED] if (line := bounded(_line(text), _TOPIC_CHARACTERS))]
    return Syllabus(modules=modules, assumed=assumed, generator=generator, model=bounded(model, _TOPIC_CHARACTERS))


def _module(proposed: ProposedModule, ids: Mapping[str, str]) -> Module:
    topic = bounded(_line(proposed.topic), _TOPIC_CHARACTERS)
    if not key(topic):
        raise SyllabusError("a module has no topic")
    if not 1 <= proposed.hours <= _MOST_MODULE_HOURS:
        raise SyllabusError(f"a module takes {proposed.hours} hours, and 1 to {_MOST_MODULE_HOURS} are wanted")
    if unknown := [name for name in proposed.prerequisites if name not in ids]:
        raise SyllabusError(f"a prerequisite, {bounded(_line(unknown[0]), 60)!r}, is no module")
    return Module(
        id=ids[proposed.key],
        topic=topic,
        difficulty=proposed.difficulty,
        summary=bounded(_line(proposed.summary), _SUMMARY_CHARACTERS),
        hours=proposed.hours,
        outcomes=[bounded(_line(text), _OUTCOME_CHARACTERS) for text in proposed.outcomes[:_MOST_OUTCOMES]],
        prerequisites=sorted({ids[name] for name in proposed.prerequisites}, key=lambda id_: int(id_[1:])),
    )


def _line(text: str) -> str:
    """One line of text that shows: what a model writes goes into events, tables and terminals."""
    return " ".join("".join(char if char.isprintable() or char == " " else " " for char in text).split())


def in_order(prerequisites: Mapping[str, Sequence[str]]) -> list[str]:
    """The modules, each behind its prerequisites and otherwise as given. Raises `SyllabusError` for a circle."""
    ordered: dict[str, None] = {}
    waiting = dict(prerequisites)
    while waiting:
        ready = next((name for name, needed in waiting.items() if all(other in ordered for other in needed)), None)
        if ready is None:
            raise SyllabusError("the prerequisites go in a circle or name what is not there")
        ordered[ready] = None
        del waiting[ready]
    return list(ordered)


def suited(resources: Iterable[LearningResource], style: LearningStyle) -> list[LearningResource]:
    """The resources, those of the style's kinds first, each address once."""
    by_url: dict[str, LearningResource] = {}
    for resource in resources:
        by_url.setdefault(resource.url, resource)
    first = _FIRST_KINDS[style]
    return sorted(by_url.values(), key=lambda resource: resource.kind not in first)[:MOST_RESOURCES]
