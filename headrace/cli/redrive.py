"""`headrace dlq redrive`."""

from __future__ import annotations

import contextlib
import json
import sys
from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from headrace import breakers, reading
from headrace.cli.dead_letters import Filters
from headrace.cli.errors import CommandError, Exit
from headrace.cli.following import REDRIVE, follow_redrive
from headrace.cli.parts import connected, opened_database, opened_wire, temporal_answers
from headrace.cli.printing import printable
from headrace.dead_letters import DeadLetter, dead_letters, fates
from headrace.settings import Settings
from schemas import names
from schemas.errors import Reason
from schemas.redrive import Range, Redrive, Selection, State
from schemas.routes import Routes, load_routes
from schemas.topics import Topics

_AGES = ((timedelta(hours=1), "less than an hour"), (timedelta(days=1), "less than a day"), (timedelta(days=7), "less than 7 days"))
_OLDER = "7 days or more"

_AGAIN = {
    Reason.UNDECODABLE: "comes back: its bytes stay as they are",
    Reason.UNKNOWN_SCHEMA: "comes back unless its schema has been added",
    Reason.INVALID: "comes back unless its model has changed",
    Reason.UNROUTABLE: "comes back unless a route has been added",
    Reason.ID_CONFLICT: "comes back: its event ID is another event's",
    Reason.TOO_LARGE: "comes back unless the limit in its message was raised",
    Reason.REJECTED_BY_TEMPORAL: "comes back unless what Temporal refused was mended",
    Reason.UNKNOWN_TARGET: "comes back unless its target has come since",
    Reason.TARGET_CLOSED: "comes back: its target has ended",
    Reason.REFERENCE_REFUSED: "comes back: its reference stays as it is",
    Reason.REFERENCE_MISSING: "comes back unless its object has come since",
}
"""What is to be expected of each reason."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks for."""

    filters: Filters
    every: bool
    parked: bool
    rate: float | None
    max_redrives: int

    def selection(self) -> Selection:
        """Raises `CommandError` (2) also for one that takes everything without saying so."""
        filters = self.filters
        if not (filters.reasons or filters.event_ids or filters.key is not None or self.every):
            raise CommandError(
                Exit.USAGE,
                "which dead letters? --reason, --event-id or --key, or --all; `headrace dlq redrive --all --dry-run` counts them",
            )
        return filters.selection()


async def run(settings: Settings, asked: Asked, *, dry_run: bool, follow: bool, as_json: bool) -> None:
    """Starts a redrive, or says what it would take.

    Raises `CommandError`: 1 a route is stopped or the redrive has failed, 2 no selection, 3 no dead letters, 4 a part is away.
    """
    routes, selection = load_routes(settings.routes_file), asked.selection()
    topics = asked.filters.dead_letter_topics(Topics(settings.topic_prefix), routes)
    async with opened_database(settings, seconds=None) as database, opened_wire(settings, routes) as wire:
        ranges = await reading.ranges(settings, topics)
        if not ranges:
            raise CommandError(Exit.NOT_FOUND, f"there are no dead letters in {', '.join(topics)}")
        if dry_run:
            counted = _Histogram(routes)
            wanted = State.PARKED if asked.parked else State.OPEN
            async with contextlib.aclosing(dead_letters(settings, wire, ranges, selection)) as found:
                async for chunk in found:
                    known = await fates(database, chunk)
                    counted.add([letter for letter in chunk if known[letter.id].state is wanted and letter.buried])
            counted.show(as_json=as_json)
            return
        refuse_stopped(await breakers.stopped_routes(database), {range_.topic.removesuffix(".dlq") for range_ in ranges})
    await _start(settings, asked, selection, ranges, follow=follow, as_json=as_json)


async def _start(settings: Settings, asked: Asked, selection: Selection, ranges: Sequence[Range], *, follow: bool, as_json: bool) -> None:
    client, redrive_id = await connected(settings), uuid4()
    redrive = Redrive(
        redrive_id=redrive_id,
        ranges=tuple(ranges),
        selection=selection,
        parked=asked.parked,
        max_redrives=asked.max_redrives,
        rate=asked.rate,
    )
    with temporal_answers(settings):
        handle = await client.start_workflow(
            names.REDRIVE_WORKFLOW, redrive, id=f"{REDRIVE}{redrive_id}", task_queue=names.QUEUE_NOTIFICATIONS
        )
    if not follow:
        print(json.dumps({"workflow_id": handle.id}) if as_json else handle.id)
        return
    print(f"{handle.id}; Ctrl-C ends the watching, not the redrive", file=sys.stderr)
    done = await follow_redrive(settings, client, handle.id, as_json=as_json)
    if done.sent + done.parked == 0:
        raise CommandError(Exit.NOT_FOUND, "no open dead letter is one of these; `headrace dlq list` shows them")


def refuse_stopped(stopped: Sequence[breakers.StoppedRoute], targets: AbstractSet[str]) -> None:
    """Nobody would read what is sent to a stopped route, and its dead letters are why it was stopped. Raises `CommandError` (1)."""
    for route in stopped:
        if route.topic in targets:
            raise CommandError(
                Exit.FAILED,
                f"the route {route.route} is stopped since {route.tripped_at:%Y-%m-%d %H:%M:%S} UTC ({route.cause}), nobody would read"
                f" what is sent to {route.topic}. When that is mended: {route.resume}",
            )


class _Histogram:
    """How many, by reason, route and age."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self._now = datetime.now(UTC)
        self._counts: Counter[tuple[str, str]] = Counter()
        self._total = 0

    def add(self, letters: Sequence[DeadLetter]) -> None:
        for letter in letters:
            self._total += 1
            self._counts["reason", letter.reason or "-"] += 1
            record = letter.decoded.record if letter.decoded else None
            route = record if record and self._routes.find(record) else f"none ({letter.record.topic.removesuffix('.dlq')})"
            self._counts["route", route] += 1
            age = self._now - letter.time
            self._counts["age", next((words for most, words in _AGES if age < most), _OLDER)] += 1

    def show(self, *, as_json: bool) -> None:
        """Raises `CommandError` (3) when there are none."""
        if not self._total:
            raise CommandError(Exit.NOT_FOUND, "no open dead letter is one of these; `headrace dlq list` shows them")
        rows = [
            {
                "by": by,
                "value": value,
                "count": count,
                "note": _AGAIN.get(Reason(value), "") if by == "reason" and value in set(Reason) else "",
            }
            for (by, value), count in sorted(self._counts.items(), key=lambda item: (item[0][0] != "reason", item[0][0], -item[1]))
        ]
        if as_json:
            for row in rows:
                print(json.dumps(row))
            return
        table = Table("by", Column("", overflow="fold"), "count", "", box=None, pad_edge=False)
        for row in rows:
            table.add_row(*(escape(printable(str(each))) for each in row.values()))
        Console().print(table)
        print(f"\n{self._total} dead letters would be sent again")
