"""The checker finds each kind of fault: a good history is broken in one place, and it must say so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from schemas.ids import workflow_id
from tests.faults.checker import Kind, check, figures
from tests.faults.history import Bad, Good, History, Letter, Place, Process, Record, Row, Run, Signal, Snapshot, StartCall

TOPIC, COMMANDS = "image.requests", "workflow.commands"
ONE, TWO, REFUSED, COMMAND, SECOND_COMMAND = (UUID(int=number) for number in range(1, 6))


def at(offset: int, partition: int = 0, topic: str = TOPIC) -> Place:
    return Place(topic, partition, offset)


def record(place: Place, expected: Any, key: bytes | None = b"k") -> Record:
    return Record(place, key, b"value", (("h", b"1"),), 7, expected)


def letter(of: Record, reason: str) -> Letter:
    return Letter(of.place, reason, of.key, of.value, of.headers, of.timestamp)


def row(event_id: UUID, place: Place, disposition: str = "started") -> Row:
    return Row(event_id, place, disposition, workflow_id("image", event_id), f"run-{event_id}")


def run(event_id: UUID, started: int, origin: Place, content: str, signals: tuple[UUID, ...] = ()) -> Run:
    return Run(workflow_id("image", event_id), f"run-{event_id}", started, origin, b"k", content, signals)


RECORDS = [
    record(at(0), Good(ONE, "a")),
    record(at(1), Good(TWO, "b")),
    record(at(2), Good(ONE, "a")),
    record(at(3), Good(ONE, "another")),
    record(at(4), Bad("undecodable")),
    record(at(0, 1), Good(TWO, "b"), key=None),
    record(at(1, 1), Bad("rejected_by_temporal", REFUSED)),
    record(at(0, 0, COMMANDS), Signal(COMMAND, ONE)),
    record(at(1, 0, COMMANDS), Signal(SECOND_COMMAND, ONE)),
]
LETTERS = [letter(RECORDS[3], "id_conflict"), letter(RECORDS[4], "undecodable"), letter(RECORDS[6], "rejected_by_temporal")]
ROWS = {
    ONE: row(ONE, at(0)),
    TWO: row(TWO, at(1)),
    REFUSED: row(REFUSED, at(1, 1), "rejected"),
    COMMAND: row(COMMAND, at(0, 0, COMMANDS), "signalled"),
    SECOND_COMMAND: row(SECOND_COMMAND, at(1, 0, COMMANDS), "signalled"),
}
RUNS = [run(ONE, 100, at(0), "a", (COMMAND, SECOND_COMMAND, COMMAND)), run(TWO, 200, at(1), "b")]
CALLS = [
    StartCall(0, workflow_id("image", ONE), at(0), b"k", forwarded=True),
    StartCall(1, workflow_id("image", TWO), at(1), b"k", forwarded=True),
    StartCall(2, workflow_id("image", ONE), at(0), b"k", forwarded=True),
    StartCall(3, workflow_id("image", REFUSED), at(1, 1), b"k", forwarded=False),
]
ENDS = {(TOPIC, 0): 5, (TOPIC, 1): 2, (COMMANDS, 0): 2}
WORDS = ["started", "started", "duplicate", "dead_lettered", "dead_lettered", "duplicate", "dead_lettered", "signalled", "signalled"]
TOLD = [(each.place, word) for each, word in zip(RECORDS, WORDS, strict=True)]
COUNTED = {"started": 2, "duplicate": 2, "dead_lettered": 3, "signalled": 2}
PROCESS = Process("ingress-0", "", TOLD, COUNTED)
SNAPSHOT = Snapshot(1.0, {(TOPIC, 0): 2}, {ONE: ROWS[ONE], TWO: ROWS[TWO]}, frozenset())
GOOD = History(RECORDS, LETTERS, ROWS, RUNS, CALLS, ENDS, ENDS, [SNAPSHOT], [PROCESS])


def test_a_good_history_is_good() -> None:
    assert check(GOOD) == []


def test_figures_count_what_is_no_fault() -> None:
    found = figures(replace(GOOD, letters=[*LETTERS, LETTERS[0]], processes=[PROCESS, replace(PROCESS, counted=None)]))
    assert (found.records, found.started, found.duplicates, found.signalled, found.dead_lettered) == (9, 2, 2, 2, 3)
    assert (found.repeated_letters, found.extra_starts, found.redelivered) == (1, 1, 9)


def without(event_id: UUID) -> dict[UUID, Row]:
    return {known: each for known, each in ROWS.items() if known != event_id}


def told(place: Place, word: str | None) -> Process:
    """As `PROCESS`, with another word for one record, or none."""
    changed = [(each, word if each == place else said) for each, said in TOLD]
    return replace(PROCESS, told=[(each, said) for each, said in changed if said is not None], counted=None)


BROKEN: dict[str, tuple[Kind, Callable[[], History]]] = {
    "an event that is not in the ledger": ("lost", lambda: replace(GOOD, rows=without(ONE))),
    "a command that is not in the ledger": ("lost", lambda: replace(GOOD, rows=without(COMMAND))),
    "a bad record without a dead letter": ("lost", lambda: replace(GOOD, letters=[LETTERS[0], LETTERS[2]])),
    "a conflict without a dead letter": ("lost", lambda: replace(GOOD, letters=LETTERS[1:])),
    "a row that stays pending": ("unsettled", lambda: replace(GOOD, rows={**ROWS, ONE: row(ONE, at(0), "pending")})),
    "a refused event that counts as started": ("unsettled", lambda: replace(GOOD, rows={**ROWS, REFUSED: row(REFUSED, at(1, 1))})),
    "a command that stays pending": (
        "unsettled",
        lambda: replace(GOOD, rows={**ROWS, COMMAND: row(COMMAND, at(0, 0, COMMANDS), "pending")}),
    ),
    "a dead letter with another reason": (
        "wrong_reason",
        lambda: replace(GOOD, letters=[*LETTERS[:1], letter(RECORDS[4], "invalid"), *LETTERS[2:]]),
    ),
    "a dead letter with two reasons": ("two_dispositions", lambda: replace(GOOD, letters=[*LETTERS, letter(RECORDS[4], "invalid")])),
    "a dead letter with another key": ("altered", lambda: replace(GOOD, letters=[*LETTERS[:2], replace(LETTERS[2], key=b"K")])),
    "a dead letter with another value": ("altered", lambda: replace(GOOD, letters=[*LETTERS[:2], replace(LETTERS[2], value=b"")])),
    "a dead letter without its header": ("altered", lambda: replace(GOOD, letters=[*LETTERS[:2], replace(LETTERS[2], headers=())])),
    "a dead letter of another time": ("altered", lambda: replace(GOOD, letters=[*LETTERS[:2], replace(LETTERS[2], timestamp=8)])),
    "an accepted record in the dead letters": (
        "unexpected_dead_letter",
        lambda: replace(GOOD, letters=[*LETTERS, letter(RECORDS[0], "id_conflict")]),
    ),
    "a duplicate in the dead letters": (
        "unexpected_dead_letter",
        lambda: replace(GOOD, letters=[*LETTERS, letter(RECORDS[2], "id_conflict")]),
    ),
    "a dead letter of no record": (
        "unexpected_dead_letter",
        lambda: replace(GOOD, letters=[*LETTERS, replace(LETTERS[0], source=at(99))]),
    ),
    "a row of a record that is another event": ("foreign_row", lambda: replace(GOOD, rows={**ROWS, ONE: row(ONE, at(1))})),
    "a row of no event": ("foreign_row", lambda: replace(GOOD, rows={**ROWS, UUID(int=99): row(UUID(int=99), at(4))})),
    "an accepted event without a run": ("no_run", lambda: replace(GOOD, runs=RUNS[:1])),
    "an event with two runs": ("second_run", lambda: replace(GOOD, runs=[*RUNS, replace(RUNS[0], run_id="second")])),
    "a run of what Temporal was made to forget": ("second_run", lambda: replace(GOOD, forgotten=frozenset({RUNS[0].workflow_id}))),
    "a run of an event that was refused": ("foreign_run", lambda: replace(GOOD, runs=[*RUNS, run(REFUSED, 300, at(1, 1), "x")])),
    "a run that the ledger does not know": ("wrong_run", lambda: replace(GOOD, runs=[replace(RUNS[0], run_id="other"), RUNS[1]])),
    "a run of the conflict": ("wrong_run", lambda: replace(GOOD, runs=[replace(RUNS[0], content="another"), RUNS[1]])),
    "a command that its run never got": ("no_signal", lambda: replace(GOOD, runs=[replace(RUNS[0], signals=(COMMAND,)), RUNS[1]])),
    "runs of a key out of order": ("order", lambda: replace(GOOD, runs=[replace(RUNS[0], started=201), RUNS[1]])),
    "calls of a key out of order": ("order", lambda: replace(GOOD, calls=[replace(CALLS[0], number=9, forwarded=True), CALLS[1]])),
    "commands of a key out of order": (
        "order",
        lambda: replace(GOOD, runs=[replace(RUNS[0], signals=(SECOND_COMMAND, COMMAND)), RUNS[1]]),
    ),
    "a later record accepted as the first": ("order", lambda: replace(GOOD, rows={**ROWS, ONE: row(ONE, at(2))})),
    "records that are not committed": ("uncommitted", lambda: replace(GOOD, committed={**ENDS, (TOPIC, 1): 1})),
    "a partition that was never committed": ("uncommitted", lambda: replace(GOOD, committed={(TOPIC, 0): 5})),
    "a commit beyond the end": ("commit_beyond", lambda: replace(GOOD, committed={**ENDS, (TOPIC, 1): 3})),
    "a commit beyond a record that is pending": (
        "commit_beyond",
        lambda: replace(GOOD, snapshots=[replace(SNAPSHOT, rows={ONE: ROWS[ONE], TWO: row(TWO, at(1), "pending")})]),
    ),
    "a commit beyond a bad record that is in no topic yet": (
        "commit_beyond",
        lambda: replace(GOOD, snapshots=[replace(SNAPSHOT, committed={(TOPIC, 0): 5}, dead=frozenset({at(3)}))]),
    ),
    "a counter that is short": ("counters", lambda: replace(GOOD, processes=[replace(PROCESS, counted={**COUNTED, "started": 1})])),
    "a record of which nobody told": ("counters", lambda: replace(GOOD, processes=[told(at(4), None)])),
    "a dead letter told as a duplicate": ("two_dispositions", lambda: replace(GOOD, processes=[told(at(3), "duplicate")])),
    "a duplicate told as a dead letter": ("two_dispositions", lambda: replace(GOOD, processes=[PROCESS, told(at(2), "dead_lettered")])),
    "a place in flight that is never given back": ("counters", lambda: replace(GOOD, processes=[replace(PROCESS, left_over=1)])),
    "a process that ended by itself": (
        "process",
        lambda: replace(GOOD, processes=[replace(PROCESS, ending="ended by itself with exit code 1")]),
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_the_checker_catches(fault: str) -> None:
    kind, broken = BROKEN[fault]
    assert kind in {found.kind for found in check(broken())}
