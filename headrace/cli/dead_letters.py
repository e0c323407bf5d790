"""`headrace dlq list` and `headrace dlq show`."""

from __future__ import annotations

import base64
import contextlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from pydantic_core import to_jsonable_python

from headrace import reading
from headrace.cli.errors import CommandError, Exit
from headrace.cli.parts import opened_database, opened_wire
from headrace.cli.printing import printable
from headrace.dead_letters import DeadLetter, Fate, dead_letters, fates, read_letter
from headrace.references import References
from headrace.settings import Settings
from schemas import headers
from schemas.errors import Reason, Rejected, bounded
from schemas.headers import Headers
from schemas.redrive import Range, Selection, State
from schemas.routes import Routes, load_routes
from schemas.topics import Topics

_MOST_SHOWN = 16_384
"""Bytes of a value, and characters of what is made of it, that a terminal is given."""
_MOST_EVENT_IDS = 1000


@dataclass(frozen=True, slots=True)
class Filters:
    """As the command line has them."""

    reasons: list[Reason] | None
    topics: list[str] | None
    since: str | None
    until: str | None
    key: str | None
    event_ids: list[UUID] | None

    def selection(self) -> Selection:
        """Raises `CommandError` (2)."""
        if len(self.event_ids or ()) > _MOST_EVENT_IDS:
            raise CommandError(Exit.USAGE, f"not more than {_MOST_EVENT_IDS} event IDs at a time")
        return Selection(
            reasons=frozenset(self.reasons or ()),
            event_ids=frozenset(self.event_ids or ()),
            key=None if self.key is None else self.key.encode(),
            since=moment("--since", self.since),
            until=moment("--until", self.until),
        )

    def dead_letter_topics(self, topics: Topics, routes: Routes) -> list[str]:
        """Of the request topics that were named, or all. Raises `CommandError` (2)."""
        requests = [*(topics.requests(domain) for domain in routes.domains()), topics.commands]
        known = {request: topics.dead_letters(request) for request in requests}
        known |= {dead: dead for dead in known.values()}
        for topic in self.topics or ():
            if topic not in known:
                raise CommandError(Exit.USAGE, f"{topic!r} is no request topic; there are: {', '.join(requests)}")
        return sorted({known[topic] for topic in self.topics or requests})


def moment(option: str, text: str | None) -> datetime | None:
    """An ISO time, UTC unless it says otherwise. Raises `CommandError` (2)."""
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise CommandError(Exit.USAGE, f"{option} {text!r} is no ISO time such as 2026-11-25T14:30 or 2026-11-25T14:30+01:00") from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)


async def show_all(settings: Settings, filters: Filters, *, every: bool, as_json: bool) -> None:
    """Prints each dead letter, as it is read. Raises `CommandError`: 2 wrong filters, 4 Kafka or the database away."""
    routes, selection = load_routes(settings.routes_file), filters.selection()
    topics = filters.dead_letter_topics(Topics(settings.topic_prefix), routes)
    async with opened_database(settings, seconds=None) as database, opened_wire(settings, routes) as wire:
        wanted = await reading.ranges(settings, topics)
        async with contextlib.aclosing(dead_letters(settings, wire, wanted, selection)) as found:
            async for chunk in found:
                known = await fates(database, chunk)
                for letter in chunk:
                    fate = known[letter.id]
                    if every or fate.state is not State.REDRIVEN:
                        print(json.dumps(fields(letter, fate)) if as_json else line(letter, fate), flush=False)


async def show_one(settings: Settings, place: str, *, as_json: bool) -> None:
    """Prints one dead letter. Raises `CommandError`: 2 no place, 3 nothing is there, 4 Kafka or the database away."""
    routes = load_routes(settings.routes_file)
    wanted = _place(place)
    async with opened_database(settings) as database, opened_wire(settings, routes) as wire:
        letter: DeadLetter | None = None
        if wanted.topic in Filters(None, None, None, None, None, None).dead_letter_topics(Topics(settings.topic_prefix), routes):
            there = [
                each
                for each in await reading.ranges(settings, [wanted.topic])
                if each.partition == wanted.partition and each.start <= wanted.start < each.end
            ]
            with contextlib.closing(References(settings)) as references:
                async with contextlib.aclosing(reading.records(settings, [wanted] if there else [])) as found:
                    async for record in found:
                        letter = await read_letter(wire, record, references)
        if letter is None:
            raise CommandError(Exit.NOT_FOUND, f"there is no dead letter at {place}; `headrace dlq list` shows them")
        fate = (await fates(database, [letter]))[letter.id]
    whole = {**fields(letter, fate), **_contents(letter), **_fate(fate)}
    print(json.dumps(whole) if as_json else _page(whole))


def place_of(letter: DeadLetter) -> str:
    return f"{letter.record.topic}:{letter.record.partition}:{letter.record.offset}"


def fields(letter: DeadLetter, fate: Fate) -> dict[str, Any]:
    """As `--json` lists it."""
    record, dead = letter.record, letter.buried
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "reason": dead.reason if dead else None,
        "message": dead.message if dead else None,
        "event_id": None if letter.event_id is None else str(letter.event_id),
        "key": _text(record.key),
        "original_topic": dead.topic if dead else None,
        "original_partition": dead.partition if dead else None,
        "original_offset": dead.offset if dead else None,
        "time": letter.time.isoformat(),
        "redrives": dead.redrives if dead else 0,
        "state": fate.state.value,
    }


def line(letter: DeadLetter, fate: Fate) -> str:
    """As a terminal lists it."""
    state = "" if fate.state is State.OPEN else f"[{fate.state}] "
    dead = letter.buried
    told = f"{printable(dead.reason):<20}  {printable(bounded(dead.message, 120))}" if dead else "no dead letter of Headrace"
    return f"{letter.time:%Y-%m-%d %H:%M:%S}  {place_of(letter)}  {letter.event_id or '-'}  {state}{told}"


def _place(text: str) -> Range:
    topic, _, rest = text.partition(":")
    partition, _, offset = rest.partition(":")
    if not topic or not (partition.isascii() and partition.isdigit()) or not (offset.isascii() and offset.isdigit()):
        raise CommandError(Exit.USAGE, f"{text!r} is no TOPIC:PARTITION:OFFSET; `headrace dlq list` prints them")
    return Range(topic=topic, partition=int(partition), start=int(offset), end=int(offset) + 1)


def _contents(letter: DeadLetter) -> dict[str, Any]:
    value = letter.value
    sent: Headers = list(letter.record.headers)
    shown: dict[str, Any] = {
        "record": letter.decoded.record if letter.decoded else None,
        "value": to_jsonable_python(letter.decoded.value, bytes_mode="base64") if letter.decoded else None,
        "value_base64": None,
        "value_bytes": None if value is None else len(value),
        "dataref": _place_of_value(letter),
        "headers": [[name, _text(content)] for name, content in sent],
    }
    if letter.decoded and len(json.dumps(shown["value"])) > _MOST_SHOWN:
        shown["value"] = None
    if shown["value"] is None and value is not None:
        shown["value_base64"] = base64.b64encode(value[:_MOST_SHOWN]).decode()
    return shown


def _place_of_value(letter: DeadLetter) -> str | None:
    try:
        return headers.dataref(letter.record.value, letter.record.headers)
    except Rejected:
        return None


def _fate(fate: Fate) -> dict[str, Any]:
    return {
        "cause": fate.cause,
        "redrive_id": None if fate.redrive_id is None else str(fate.redrive_id),
        "settled_at": None if fate.settled_at is None else fate.settled_at.isoformat(),
        "to_topic": fate.to_topic,
        "to_partition": fate.to_partition,
        "to_offset": fate.to_offset,
    }


def _page(whole: dict[str, Any]) -> str:
    lines = []
    for name, value in whole.items():
        if value is None:
            continue
        if name == "headers":
            lines += [f"header {printable(each)}: {printable(bounded(text or '', 500))}" for each, text in value]
        elif name == "value":
            lines += ["value:", *("  " + printable(each) for each in json.dumps(value, indent=2).splitlines())]
        else:
            lines.append(f"{name}: {printable(str(value))}")
    return "\n".join(lines)


def _text(data: bytes | None) -> str | None:
    """UTF-8 as it is, other bytes as `base64:...`; bounded."""
    if data is None:
        return None
    try:
        return bounded(data.decode(), 2000)
    except UnicodeDecodeError:
        return bounded("base64:" + base64.b64encode(data[:_MOST_SHOWN]).decode(), 2000)
