"""`headrace replay`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence

import typer
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from rich.console import Console
from rich.table import Table

from headrace import breakers, kafka, reading
from headrace.cli.dead_letters import moment
from headrace.cli.errors import CommandError, Exit
from headrace.cli.parts import connected, opened_database, opened_wire, temporal_answers
from headrace.cli.printing import printable
from headrace.cli.redrive import refuse_stopped
from headrace.forward import Outgoing, Refused, send_all
from headrace.references import References
from headrace.replay import Outcome, Planned, Replay, committed
from headrace.settings import Settings
from schemas.command import COMMAND
from schemas.event import Reader
from schemas.redrive import Range
from schemas.routes import Routes, load_routes
from schemas.topics import Topics

_EARLIEST, _LATEST = "earliest", "latest"
_STOP_SECONDS = 5.0
_AT_ONCE = 100

_MEANING = {
    Outcome.START: "never started: sent once more",
    Outcome.DUPLICATE: "started before: left alone",
    Outcome.CHANGED: "another event has its ID: left alone, it would be dead-lettered",
    Outcome.REFUSED: "would be dead-lettered: left alone",
    Outcome.WAITING: "the ingress has not come to it yet: left alone",
}


async def run(
    settings: Settings,
    topic: str,
    begin: Sequence[str],
    end: Sequence[str],
    *,
    only_plan: bool,
    yes: bool,
    rate: float | None,
    as_json: bool,
) -> None:
    """Says what a range would start, and sends that again once it is confirmed.

    Raises `CommandError`: 1 not confirmed, or the route is stopped; 2 no such topic or range; 3 an empty range; 4 a part is away.
    """
    routes, topics = load_routes(settings.routes_file), Topics(settings.topic_prefix)
    _check_topic(topic, topics, routes)
    client = await connected(settings)
    async with opened_database(settings, seconds=None) as database, opened_wire(settings, routes) as wire:
        with temporal_answers(settings):
            wanted = await _ranges(settings, topic, begin, end)
            if not wanted:
                raise CommandError(Exit.NOT_FOUND, f"{topic} has no record in this range")
            reader = Reader(routes, topics, wire.catalog.named(COMMAND))
            replay, group = Replay(settings, wire, reader, database, client, References(settings)), await committed(settings)
            counts = await _plan(replay, wanted, group, as_json=as_json and only_plan)
            if not (as_json and only_plan):
                _show(counts, wanted, as_json=as_json)
            if only_plan or not counts[Outcome.START]:
                return
            refuse_stopped(await breakers.stopped_routes(database), {topic})
            _confirm(counts[Outcome.START], topic, yes=yes)
            sent = await _send(settings, replay, wanted, group, rate)
    print(json.dumps({"sent": sent}) if as_json else f"{sent} records sent to {topic} once more")


async def _plan(replay: Replay, wanted: Sequence[Range], group: Mapping[TopicPartition, int], *, as_json: bool) -> Counter[Outcome]:
    counts: Counter[Outcome] = Counter()
    async with contextlib.aclosing(replay.plan(wanted, group)) as chunks:
        async for chunk in chunks:
            counts.update(planned.outcome for planned in chunk)
            if as_json:
                for planned in chunk:
                    print(json.dumps(_fields(planned)))
    return counts


async def _send(
    settings: Settings, replay: Replay, wanted: Sequence[Range], group: Mapping[TopicPartition, int], rate: float | None
) -> int:
    """Plans anew while it sends: what has been started meanwhile is left alone. Stopped half-way, it can be begun again."""
    sent, began = 0, time.monotonic()
    async with _producing(settings) as producer, contextlib.aclosing(replay.plan(wanted, group)) as chunks:
        async for chunk in chunks:
            due = [planned.record for planned in chunk if planned.outcome is Outcome.START]
            for start in range(0, len(due), _AT_ONCE):
                some = due[start : start + _AT_ONCE]
                answers = await send_all(
                    producer, [Outgoing(each.topic, each.partition, each.key, each.value, list(each.headers)) for each in some]
                )
                for answer in answers:
                    if isinstance(answer, Refused):
                        print(f"left out: {answer.cause}", file=sys.stderr)
                    else:
                        sent += 1
                if rate is not None:
                    await asyncio.sleep(max(0.0, sent / rate - (time.monotonic() - began)))
    return sent


@contextlib.asynccontextmanager
async def _producing(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    producer = kafka.producer(settings, idempotent=False)
    try:
        await producer.start()
        yield producer
    finally:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(producer.stop(), _STOP_SECONDS)


def _check_topic(topic: str, topics: Topics, routes: Routes) -> None:
    known = [topics.requests(domain) for domain in routes.domains()]
    if topic in {topics.dead_letters(each) for each in known}:
        raise CommandError(Exit.USAGE, f"{topic} holds dead letters: `headrace dlq redrive` sends those again")
    if topic not in known:
        raise CommandError(Exit.USAGE, f"{topic!r} is no request topic; there are: {', '.join(known)}")


async def _ranges(settings: Settings, topic: str, begin: Sequence[str], end: Sequence[str]) -> list[Range]:
    partitions = await kafka.partitions(settings, [topic])
    async with reading.consumer(settings) as consumer:
        first, last = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        starts = await _bound("--from", begin, consumer, first, last)
        ends = await _bound("--to", end, consumer, first, last)
    made = [
        Range(topic=topic, partition=each.partition, start=max(starts[each], first[each]), end=min(ends.get(each, last[each]), last[each]))
        for each in sorted(starts)
    ]
    return [each for each in made if each.start < each.end]


async def _bound(
    option: str,
    words: Sequence[str],
    consumer: AIOKafkaConsumer,
    first: Mapping[TopicPartition, int],
    last: Mapping[TopicPartition, int],
) -> dict[TopicPartition, int]:
    """An offset for each partition that is meant. Raises `CommandError` (2)."""
    pairs = [re.fullmatch(r"([0-9]+):([0-9]+)", word, re.ASCII) for word in words]
    if all(pairs):
        named = {int(pair[1]): int(pair[2]) for pair in pairs if pair}
        unknown = named.keys() - {each.partition for each in first}
        if unknown:
            raise CommandError(Exit.USAGE, f"{option}: there is no partition {min(unknown)}; there are {len(first)}, from 0 on")
        return {each: named[each.partition] for each in first if each.partition in named}
    if len(words) > 1:
        raise CommandError(Exit.USAGE, f"{option} takes several PARTITION:OFFSET, or one of anything else")
    [word] = words
    if word == _EARLIEST:
        return dict(first)
    if word == _LATEST:
        return dict(last)
    if word.isascii() and word.isdigit():
        return dict.fromkeys(first, int(word))
    at = moment(option, word)
    assert at is not None  # noqa: S101 - None only for None
    found = await consumer.offsets_for_times(dict.fromkeys(first, int(at.timestamp() * 1000)))
    return {each: place.offset if place is not None else last[each] for each, place in found.items()}


def _confirm(count: int, topic: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandError(Exit.USAGE, "nobody can be asked here: --yes does it, --plan does not")
    if not typer.confirm(f"Send {count} records to {topic} once more?", err=True):
        raise CommandError(Exit.FAILED, "nothing was sent")


def _fields(planned: Planned) -> dict[str, object]:
    record = planned.record
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "event_id": None if planned.event_id is None else str(planned.event_id),
        "outcome": planned.outcome.value,
        "why": planned.why,
    }


def _show(counts: Counter[Outcome], wanted: Sequence[Range], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({outcome.value: counts[outcome] for outcome in Outcome}))
        return
    table = Table("outcome", "records", "", box=None, pad_edge=False)
    for outcome in Outcome:
        table.add_row(outcome.value, str(counts[outcome]), _MEANING[outcome])
    Console().print(table)
    print(printable("read: " + ", ".join(f"partition {each.partition} from {each.start} to {each.end}" for each in wanted)))
