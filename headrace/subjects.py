"""The subjects of the schema registry: which there are, what is missing in them, and how `headrace setup` registers it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from headrace.registry import Registry, SchemaRefusedError
from headrace.wire import subject
from schemas.codec import Schema
from schemas.command import COMMAND
from schemas.compatibility import incompatible
from schemas.completion import completion_record
from schemas.errors import bounded
from schemas.models import HISTORY
from schemas.routes import Routes
from schemas.topics import Topics

LEVEL = "FULL_TRANSITIVE"
"""What every schema of Headrace keeps to all versions before it, and what a subject is given that setup makes."""


class UnfitSchemaError(Exception):
    """A schema cannot be registered beside what is there; the text names subject, version, and what to do."""


@dataclass(frozen=True, slots=True)
class Missing:
    """What a subject lacks."""

    subject: str
    is_there: bool
    """It has a version, whoever registered it."""
    versions: tuple[Schema, ...]
    """Oldest first: those behind the newest that is there. Empty when there is nothing to do."""


def subjects(routes: Routes, topics: Topics) -> dict[str, Schema]:
    """Every schema that is written with these routes, by the subject under which it is looked up."""
    catalog = routes.catalog()
    wanted: list[tuple[str, Schema | None]] = []
    for route in routes.all():
        wanted.append((topics.requests(route.domain), route.schema))
        wanted.append((topics.completions(route.domain), catalog.by_name(completion_record(route.record))))
    wanted += [(topics.commands, catalog.named(COMMAND)), (topics.history, catalog.named(HISTORY))]
    return {subject(topic, schema.name): schema for topic, schema in wanted if schema is not None}


async def missing(registry: Registry, name: str, schema: Schema) -> Missing:
    """What is to be registered under a subject. Raises `UnfitSchemaError`, `SchemaRefusedError` and `Transient`.

    Versions before one that is there stay as they are: registered behind it, an old one would become the latest, with which others write.
    """
    new: list[Schema] = []
    for version in reversed(schema.versions):
        if await registry.find(name, version) is not None:
            break
        new.insert(0, version)
    there = await registry.versions(name) if new else {}
    for number, text in there.items():
        _hold(name, new, number, text)
    for place, version in enumerate(new):
        _hold(name, new[place + 1 :], None, version.text)
    return Missing(name, bool(there) or not new, tuple(new))


async def register(registry: Registry, wanted: dict[str, Schema], say: Callable[[str], None]) -> None:
    """Registers what is missing, once everything is known to fit; says a line for each subject. Raises as `missing` does."""
    found: list[Missing] = []
    unfit: list[str] = []
    for name, schema in wanted.items():
        try:
            found.append(await missing(registry, name, schema))
        except UnfitSchemaError as error:
            unfit.append(str(error))
    if unfit:
        raise UnfitSchemaError("; ".join(unfit))
    for each in found:
        say(f"schema {each.subject}: {await _registered(registry, each)}")


async def _registered(registry: Registry, lacks: Missing) -> str:
    if not lacks.is_there:
        # Before the first version: a setup that dies in between leaves no subject without it.
        await registry.set_level(lacks.subject, LEVEL)
    try:
        ids = [await registry.add(lacks.subject, version) for version in lacks.versions]
    except SchemaRefusedError as error:
        raise UnfitSchemaError(f"{error}. Make it {LEVEL} with what is there, or ask whoever keeps the registry") from error
    said = "there" if not ids else f"made, {'ID' if len(ids) == 1 else 'IDs'} {', '.join(map(str, ids))}"
    level = LEVEL if not lacks.is_there else await registry.level(lacks.subject)
    return said if level == LEVEL else f"{said}, with {laxer(level)}"


def laxer(level: str) -> str:
    """What to know of a subject of another level: it is left as somebody wants it."""
    return f"the compatibility level {level}, not {LEVEL}: others may register what Headrace cannot read"


def _hold(name: str, new: list[Schema], number: int | None, text: str) -> None:
    """Raises `UnfitSchemaError` unless each of the new versions and the other read each other; `number` is that which it has there."""
    other = "a version before it" if number is None else f"version {number} there"
    todo = "nothing is registered. Change an .avsc only by fields with defaults, or give the record another name"
    if number is not None:
        todo += "; when that version is the mistake, delete it in the registry"
    try:
        schema = Schema(text)
    except ValueError as error:
        raise UnfitSchemaError(f"{name}: {other} cannot be used ({error}): {todo}") from error
    for version in new:
        problems = incompatible(schema.parsed, version.parsed)
        if problems:
            raise UnfitSchemaError(f"{name}: {version.name} is not {LEVEL} with {other} ({bounded('; '.join(problems), 300)}): {todo}")
