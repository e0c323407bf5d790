"""Holds a history against the promises. Every finding is a sentence that names the record, the event or the process."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal
from uuid import UUID

from schemas.ids import workflow_id
from tests.faults.history import Bad, Good, History, Letter, Partition, Place, Record, Row, Run, Signal, Snapshot

Kind = Literal[
    "lost",
    "unsettled",
    "wrong_reason",
    "altered",
    "unexpected_dead_letter",
    "two_dispositions",
    "foreign_row",
    "no_run",
    "second_run",
    "foreign_run",
    "wrong_run",
    "order",
    "no_signal",
    "uncommitted",
    "commit_beyond",
    "counters",
    "process",
    "stalled",
]


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was not kept."""

    kind: Kind
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


@dataclass(frozen=True, slots=True)
class Figures:
    """What the run came to; none of these is a fault."""

    records: int
    started: int
    duplicates: int
    signalled: int
    dead_lettered: int
    repeated_letters: int
    extra_starts: int
    """Start calls that reached Temporal beyond one for each run."""
    redelivered: int
    """Dispositions told beyond one for each record."""


def check(history: History) -> list[Violation]:
    """What is wrong; empty when every promise was kept."""
    return [
        *_dispositions(history),
        *_letters(history),
        *_rows(history),
        *_runs(history),
        *_signals(history),
        *_order_of_runs(history),
        *_order_of_signals(history),
        *_order_of_calls(history),
        *_first_is_accepted(history),
        *_commits(history),
        *(found for snapshot in history.snapshots for found in _snapshot(history, snapshot)),
        *_processes(history),
    ]


def figures(history: History) -> Figures:
    words = Counter(_word(record, history.rows, {letter.source for letter in history.letters}) for record in history.records)
    forwarded = sum(call.forwarded for call in history.calls)
    told = [place for process in history.processes for place, _ in process.told]
    return Figures(
        records=len(history.records),
        started=words["started"],
        duplicates=words["duplicate"],
        signalled=words["signalled"],
        dead_lettered=words["dead_lettered"],
        repeated_letters=len(history.letters) - len({letter.source for letter in history.letters}),
        extra_starts=forwarded - len({call.workflow_id for call in history.calls if call.forwarded}),
        redelivered=len(told) - len(set(told)),
    )


def _word(record: Record, rows: Mapping[UUID, Row], dead: set[Place] | frozenset[Place]) -> str:
    """The disposition that a record has; "none" while it has none."""
    if record.place in dead:
        return "dead_lettered"
    if isinstance(record.expected, Bad):
        return "none"
    row = rows.get(record.expected.event_id)
    if row is None or row.disposition not in ("started", "signalled"):
        return "none"
    return row.disposition if row.place == record.place else "duplicate"


def _contents(history: History) -> dict[Place, str]:
    return {record.place: record.expected.content for record in history.records if isinstance(record.expected, Good)}


def _dispositions(history: History) -> Iterator[Violation]:
    letters = {letter.source: letter for letter in history.letters}
    contents = _contents(history)
    for record in history.records:
        letter = letters.get(record.place)
        match record.expected:
            case Bad(reason):
                yield from _dead(record, letter, reason)
            case Good(event_id, content):
                row = history.rows.get(event_id)
                if row is not None and contents.get(row.place, content) != content:
                    yield from _dead(record, letter, "id_conflict")
                else:
                    yield from _accepted(record, row, letter, "started")
            case Signal(event_id):
                yield from _accepted(record, history.rows.get(event_id), letter, "signalled")


def _accepted(record: Record, row: Row | None, letter: Letter | None, disposition: str) -> Iterator[Violation]:
    event_id = record.expected.event_id
    if row is None:
        yield Violation("lost", f"{record.place}: event {event_id} is not in the ledger")
    elif row.disposition != disposition:
        yield Violation("unsettled", f"{record.place}: event {event_id} is {row.disposition} in the ledger")
    if letter is not None:
        yield Violation("unexpected_dead_letter", f"{record.place} is accepted, and dead-lettered as {letter.reason}")


def _dead(record: Record, letter: Letter | None, reason: str) -> Iterator[Violation]:
    if letter is None:
        yield Violation("lost", f"{record.place} must be dead-lettered as {reason}, and is not")
    elif letter.reason != reason:
        yield Violation("wrong_reason", f"{record.place} must be dead-lettered as {reason}, and is as {letter.reason}")


def _letters(history: History) -> Iterator[Violation]:
    records = {record.place: record for record in history.records}
    reasons: dict[Place, set[str]] = defaultdict(set)
    for letter in history.letters:
        reasons[letter.source].add(letter.reason)
        record = records.get(letter.source)
        if record is None:
            yield Violation("unexpected_dead_letter", f"a dead letter names {letter.source}, where no record is")
            continue
        changed = [name for name in ("key", "value", "headers", "timestamp") if getattr(letter, name) != getattr(record, name)]
        if changed:
            yield Violation("altered", f"the dead letter of {letter.source} has another {' and '.join(changed)} than its record")
    for place, found in reasons.items():
        if len(found) > 1:
            yield Violation("two_dispositions", f"{place} was dead-lettered as {' and as '.join(sorted(found))}")


def _rows(history: History) -> Iterator[Violation]:
    places: dict[UUID, set[Place]] = defaultdict(set)
    refused: set[UUID] = set()
    for record in history.records:
        if record.expected.event_id is not None:
            places[record.expected.event_id].add(record.place)
            if isinstance(record.expected, Bad):
                refused.add(record.expected.event_id)
    for event_id, row in history.rows.items():
        if row.place not in places[event_id]:
            yield Violation("foreign_row", f"the ledger says that {row.place} brought event {event_id}, which it did not")
        if event_id in refused and row.disposition != "rejected":
            yield Violation("unsettled", f"event {event_id} was refused and is {row.disposition} in the ledger")


def _runs(history: History) -> Iterator[Violation]:
    contents = _contents(history)
    found: dict[str, list[Run]] = defaultdict(list)
    for run in history.runs:
        found[run.workflow_id].append(run)
    accepted = {record.expected.event_id for record in history.records if isinstance(record.expected, Good)}
    for event_id in sorted(accepted):
        identity = workflow_id("image", event_id)
        runs, row = found.pop(identity, []), history.rows.get(event_id)
        if identity in history.forgotten:
            if runs:
                yield Violation("second_run", f"event {event_id} had its run, which Temporal has forgotten, and got another")
        elif not runs:
            yield Violation("no_run", f"event {event_id} has no run")
        elif len(runs) > 1:
            yield Violation("second_run", f"event {event_id} has {len(runs)} runs")
        elif row is not None and row.disposition == "started":
            yield from _same_run(row, runs[0], contents)
    for identity in sorted(found):
        yield Violation("foreign_run", f"{identity} runs, for no event that can be accepted")


def _same_run(row: Row, run: Run, contents: Mapping[Place, str]) -> Iterator[Violation]:
    if (row.workflow_id, row.run_id) != (run.workflow_id, run.run_id):
        yield Violation("wrong_run", f"event {row.event_id}: the ledger has {row.workflow_id} {row.run_id}, Temporal {run.run_id}")
    if contents.get(row.place) != run.content:
        yield Violation("wrong_run", f"event {row.event_id}: its run has not what {row.place} says, which the ledger calls the first")


def _signals(history: History) -> Iterator[Violation]:
    given = {run.workflow_id: set(run.signals) for run in history.runs}
    for record in history.records:
        if not isinstance(record.expected, Signal):
            continue
        target = workflow_id("image", record.expected.target)
        if target not in history.forgotten and record.expected.event_id not in given.get(target, set()):
            yield Violation("no_signal", f"{record.place}: {target} has no signal of command {record.expected.event_id}")


def _order_of_runs(history: History) -> Iterator[Violation]:
    lanes: dict[tuple[str, int, bytes], list[Run]] = defaultdict(list)
    for run in history.runs:
        if run.key is not None:
            lanes[run.origin.topic, run.origin.partition, run.key].append(run)
    for runs in lanes.values():
        runs.sort(key=lambda run: run.origin.offset)
        for first, second in pairwise(runs):
            if first.started > second.started:
                yield Violation("order", f"{second.origin} was started before {first.origin}, which has the same key and comes first")


def _order_of_signals(history: History) -> Iterator[Violation]:
    keys = {record.place: record.key for record in history.records}
    for run in history.runs:
        last: dict[tuple[str, int, bytes], Place] = {}
        for event_id in dict.fromkeys(run.signals):
            row = history.rows.get(event_id)
            key = None if row is None else keys.get(row.place)
            if row is None or key is None:
                continue
            lane = (row.place.topic, row.place.partition, key)
            if lane in last and last[lane] > row.place:
                yield Violation("order", f"{run.workflow_id} got the command of {last[lane]} before that of {row.place}, of the same key")
            last[lane] = row.place


def _order_of_calls(history: History) -> Iterator[Violation]:
    seen: set[str] = set()
    last: dict[tuple[str, int, bytes], Place] = {}
    for call in sorted(history.calls, key=lambda call: call.number):
        if call.key is None or call.workflow_id in seen:
            continue
        seen.add(call.workflow_id)
        lane = (call.origin.topic, call.origin.partition, call.key)
        if lane in last and last[lane] > call.origin:
            yield Violation("order", f"Temporal was asked to start {last[lane]} before {call.origin}, which has the same key")
        last[lane] = max(call.origin, last.get(lane, call.origin))


def _first_is_accepted(history: History) -> Iterator[Violation]:
    """Of one event's records that share partition and key, the first is the one that the ledger knows, if it is one of them."""
    first: dict[tuple[UUID, str, int, bytes | None], Place] = {}
    keys = {record.place: record.key for record in history.records}
    for record in sorted(history.records, key=lambda record: record.place):
        if isinstance(record.expected, Good):
            place = record.place
            first.setdefault((record.expected.event_id, place.topic, place.partition, record.key), place)
    for event_id, row in history.rows.items():
        place = row.place
        known = first.get((event_id, place.topic, place.partition, keys.get(place)), place)
        if known < place:
            yield Violation("order", f"event {event_id} was accepted from {place}, and {known} brought it before, with the same key")


def _commits(history: History) -> Iterator[Violation]:
    for partition, end in sorted(history.ends.items()):
        committed = history.committed.get(partition, 0)
        if committed < end:
            yield Violation("uncommitted", f"{_named(partition)} is committed up to {committed}, its end is {end}")
        if committed > end:
            yield Violation("commit_beyond", f"{_named(partition)} is committed up to {committed}, beyond its end, {end}")


def _snapshot(history: History, snapshot: Snapshot) -> Iterator[Violation]:
    for record in history.records:
        place = record.place
        if place.offset < snapshot.committed.get((place.topic, place.partition), 0) and (
            _word(record, snapshot.rows, snapshot.dead) == "none"
        ):
            yield Violation(
                "commit_beyond",
                f"at {snapshot.at:.2f} s {_named((place.topic, place.partition))} was committed up to"
                f" {snapshot.committed[place.topic, place.partition]}, and {place} had no disposition",
            )


def _processes(history: History) -> Iterator[Violation]:
    told: dict[Place, set[str]] = defaultdict(set)
    for process in history.processes:
        if process.ending:
            yield Violation("process", f"{process.name} {process.ending}")
        if process.left_over:
            yield Violation("counters", f"{process.name} counts {process.left_over} records and bytes in flight with nothing left to do")
        words = Counter(word for _, word in process.told)
        if process.counted is not None and Counter(process.counted) != words:
            yield Violation("counters", f"{process.name} counts {dict(process.counted)}, and its log has {dict(words)}")
        for place, word in process.told:
            told[place].add("dead_lettered" if word == "dead_lettered" else "accepted")
    dead = {letter.source for letter in history.letters}
    if not history.processes:
        return
    for record in history.records:
        word = "dead_lettered" if record.place in dead else "accepted"
        if not told[record.place]:
            yield Violation("counters", f"no process told of {record.place}")
        elif told[record.place] != {word}:
            yield Violation("two_dispositions", f"{record.place} was told as {' and '.join(sorted(told[record.place]))}, and is {word}")


def _named(partition: Partition) -> str:
    return f"{partition[0]}-{partition[1]}"
