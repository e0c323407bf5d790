"""`headrace explain`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from pydantic_core import to_jsonable_python

from headrace.cli.errors import CommandError, Exit
from headrace.cli.printing import printable
from headrace.explain.asking import PLACES, explain, unasked
from headrace.explain.facts import Fact, known
from headrace.settings import Settings
from schemas.routes import load_routes

_TIME = "%Y-%m-%d %H:%M:%S.%f"
_NO_TIME = " " * 23


async def show(settings: Settings, event_id: UUID, *, as_json: bool) -> None:
    """Prints each fact. Raises `CommandError`: 2 the nil UUID, 3 nothing is known, 4 a place away that might know something."""
    if event_id.int == 0:
        raise CommandError(Exit.USAGE, "the nil UUID identifies nothing: which event?")
    facts = await explain(settings, event_id, load_routes(settings.routes_file).domains())
    away = unasked(facts)
    if known(facts) or away:
        for fact in facts:
            print(_json(event_id, fact) if as_json else "\n".join(_lines(fact)))
    if known(facts):
        return
    if away:
        rest = "nobody could be asked" if len(away) >= len(PLACES) - 1 else "the others know nothing of it"
        raise CommandError(
            Exit.UNREACHABLE, f"{' and '.join(away)} cannot be asked for {event_id}, and {rest}: `headrace doctor` says what is wrong"
        )
    raise CommandError(Exit.NOT_FOUND, f"nothing is known of {event_id}: is it on its way still (`headrace status` shows the lag)?")


def _json(event_id: UUID, fact: Fact) -> str:
    line = {"event_id": event_id, "at": fact.at, "what": fact.what, "where": fact.where, "details": fact.details}
    return json.dumps(to_jsonable_python(line))


def _lines(fact: Fact) -> Iterator[str]:
    at = fact.at.strftime(_TIME)[:-3] if fact.at else _NO_TIME
    yield f"{at}  {fact.what:<20}  {printable(fact.where or '')}".rstrip()
    for name, value in fact.details.items():
        for each in value if isinstance(value, list) else [value]:
            if each not in (None, ""):
                yield f"{_NO_TIME}    {name}: {printable(_text(each))}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(to_jsonable_python(value))
