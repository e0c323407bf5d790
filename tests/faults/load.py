"""The records of one run, drawn from its seed: good ones, repeats in other bytes, conflicts, bad ones, hot keys and none."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from schemas import codec
from schemas.catalog import Catalog, shipped
from schemas.command import COMMAND
from tests.faults.history import Bad, Expected, Good, Headers, Signal

CATALOG = Catalog(shipped())
REQUESTED, COMPLETED = "headrace.image.ImageGenerationRequested", "headrace.image.ImageGenerationCompleted"
NUMBER = "chaos"
"""The header with a record's number in the plan."""
MAX_PAYLOAD_BYTES = 3000
"""What the ingress is told that Temporal takes: a prompt of 3500 characters is too large then."""

_HEADER = 10
_FINDS, _PATIENT_SECONDS, _IMPATIENT_SECONDS = 0.8, 40.0, 0.5
_NOW = datetime(2026, 11, 25, 12, 0, 0, 123000, tzinfo=UTC)
_SENT = 1_790_000_000_000


@dataclass(frozen=True, slots=True)
class Sent:
    """One record of the plan."""

    number: int
    partition: int
    key: bytes | None
    value: bytes | None
    extra: Headers
    late: float
    """When it is sent, as a share of the time of the load; 0 lies there before an ingress runs."""
    expected: Expected
    command: bool = False
    """Whether it is sent to the topic of commands."""

    @property
    def headers(self) -> Headers:
        return (*self.extra, (NUMBER, b"%d" % self.number))

    @property
    def timestamp(self) -> int:
        return _SENT + self.number


@dataclass(frozen=True, slots=True)
class Load:
    """All of them, in the order in which they are sent."""

    partitions: int
    records: tuple[Sent, ...]
    refused: frozenset[UUID]
    """Events that Temporal calls invalid."""
    command_wait_seconds: float
    """How long a command waits for its target. Each seed has either commands that find theirs in time, or such that never will."""

    def words(self) -> str:
        """For the table."""
        bad = sum(isinstance(sent.expected, Bad) for sent in self.records)
        events = {sent.expected.event_id for sent in self.records if isinstance(sent.expected, Good)}
        keys = len({sent.key for sent in self.records if not sent.command})
        commands = sum(sent.command for sent in self.records)
        return f"{self.partitions}p {keys}k {len(events)} events {bad} bad {commands} commands"


def draw_load(rng: random.Random, salt: str) -> Load:
    """`salt`, eight hex digits, begins every event ID: a seed that runs twice on one server brings new events."""
    return _Draw(rng, salt).load()


class _Draw:
    def __init__(self, rng: random.Random, salt: str) -> None:
        self._rng = rng
        self._salt = salt
        self._partitions = rng.randint(3, 6)
        self._keys = self._draw_keys()
        self._refused: set[UUID] = set()
        self._shown: list[Sent] = []
        """Good ones, to be repeated."""
        self._values: dict[UUID, dict[str, Any]] = {}
        self._finds_targets = rng.random() < _FINDS
        self._commands: list[Sent] = []

    def _draw_keys(self) -> Callable[[], bytes | None]:
        rng, kind = self._rng, self._rng.choice(["hot", "many", "mixed", "none"])
        hot = [b"hot-%d" % number for number in range(rng.randint(1, 3))]
        if kind == "none":
            return lambda: None
        if kind == "hot":
            return lambda: rng.choice(hot) if rng.random() < 0.85 else b"cold-%d" % rng.randrange(1000)
        if kind == "many":
            return lambda: b"key-%d" % rng.randrange(60)
        return lambda: rng.choice([None, rng.choice(hot), b"\xff\x00%d" % rng.randrange(20)])

    def load(self) -> Load:
        rng, total = self._rng, self._rng.randint(150, 300)
        repeats, conflicts, bad = rng.uniform(0, 0.25), rng.uniform(0, 0.1), rng.uniform(0, 0.2)
        commands = rng.choice([0.0, 0.0, 0.03, 0.1])
        backlog = rng.uniform(0.1, 0.7)
        sent: list[Sent] = []
        for number in range(total):
            late = 0.0 if number < backlog * total else (number / total - backlog) / (1 - backlog)
            drawn = rng.random()
            if self._shown and rng.random() < commands:
                found = self._command(number)
            elif self._shown and drawn < repeats:
                found = self._repeat(number)
            elif self._shown and drawn < repeats + conflicts:
                found = self._conflict(number)
            elif drawn < repeats + conflicts + bad:
                found = self._bad(number)
            else:
                found = self._good(number)
            sent.append(replace(found, late=late))
        wait = _PATIENT_SECONDS if self._finds_targets else _IMPATIENT_SECONDS
        return Load(self._partitions, tuple(sent), frozenset(self._refused), wait)

    def _sent(self, number: int, value: bytes | None, expected: Expected, extra: Headers = ()) -> Sent:
        key = self._keys()
        # As Kafka's own partitioner does it: one key, one partition.
        partition = self._rng.randrange(self._partitions) if key is None else sum(key) % self._partitions
        return Sent(number, partition, key, value, extra, 0.0, expected)

    def _event_id(self) -> UUID:
        drawn = UUID(int=self._rng.getrandbits(128), version=4)
        return UUID(self._salt + str(drawn)[len(self._salt) :])

    def _fields(self, **changed: Any) -> dict[str, Any]:
        rng = self._rng
        fields = {
            "event_id": self._event_id(),
            "user_id": f"user-{rng.randrange(9)}",
            "requested_at": _NOW + timedelta(milliseconds=rng.randrange(10**6)),
            "prompt": f"A mill {rng.randrange(10**6)}",
            "negative_prompt": rng.choice(["", "no wheel"]),
            "style": rng.choice(["sketch", "photorealistic"]),
            "size": "128x128",
            "backend": "local",
        }
        return {**fields, **changed}

    def _good(self, number: int) -> Sent:
        fields = self._fields()
        event_id = fields["event_id"]
        self._values[event_id] = fields
        extra: Headers = (("ce_id", str(event_id).encode()),) if self._rng.random() < 0.3 else ()
        sent = self._sent(number, framed(fields), Good(event_id, fields["prompt"]), extra)
        self._shown.append(sent)
        return sent

    def _repeat(self, number: int) -> Sent:
        """The same event again: where it was or elsewhere, in the same bytes or in others that mean the same."""
        first = self._rng.choice(self._shown[-30:])
        value = self._rng.choice([lambda same: same, long_form, upper_case])(first.value)
        if self._rng.random() < 0.5:
            return replace(first, number=number, value=value)
        return self._sent(number, value, first.expected, first.extra)

    def _conflict(self, number: int) -> Sent:
        """The same event ID, another event."""
        first = self._rng.choice(self._shown[-30:])
        assert isinstance(first.expected, Good)
        fields = {**self._values[first.expected.event_id], "prompt": f"Another mill {number}"}
        other = Good(first.expected.event_id, fields["prompt"])
        if self._rng.random() < 0.5:
            return replace(first, number=number, value=framed(fields), expected=other)
        return self._sent(number, framed(fields), other)

    def _command(self, number: int) -> Sent:
        """To the run of an event that is accepted, at once or later; or of one that never comes. A few come twice."""
        rng = self._rng
        if self._commands and rng.random() < 0.2:
            return replace(rng.choice(self._commands), number=number)
        target = rng.choice(self._shown[-10:]).expected.event_id if self._finds_targets else self._event_id()
        assert target is not None
        event_id = self._event_id()
        own = {"event_id": event_id, "target_event_id": target, "command": rng.choice(["pause", "resume", "cancel"]), "reason": "chaos"}
        value = framed({**own, "user_id": "operator", "requested_at": _NOW}, COMMAND)
        key = None if rng.random() < 0.1 else str(target).encode()
        partition = rng.randrange(self._partitions) if key is None else sum(key) % self._partitions
        expected: Expected = Signal(event_id, target) if self._finds_targets else Bad("unknown_target", event_id)
        sent = Sent(number, partition, key, value, (), 0.0, expected, command=True)
        self._commands.append(sent)
        return sent

    def _bad(self, number: int) -> Sent:
        rng = self._rng
        fields = self._fields()
        good = framed(fields)
        borrowed = rng.choice(self._shown).expected.event_id if self._shown else self._event_id()
        header: Headers = (("ce_id", b"another"), ("h", b"\xff"), ("h", None))
        kind = rng.choice([*_SPOILT, *_OTHERWISE])
        match kind:
            case "ce_id":
                return self._sent(number, good, Bad("invalid"), header)
            case "borrowed":
                return self._sent(number, framed({**fields, "event_id": borrowed, "prompt": " "}), Bad("invalid"))
            case "too_large":
                return self._sent(number, framed({**fields, "prompt": "x" * 3500}), Bad("too_large", fields["event_id"]))
            case "refused":
                self._refused.add(fields["event_id"])
                return self._sent(number, good, Bad("rejected_by_temporal", fields["event_id"]))
            case "nothing":
                return replace(self._sent(number, None, Bad("undecodable")), key=None)
            case _:
                reason, make = _SPOILT[kind]
                return self._sent(number, make(good, fields), Bad(reason))


def framed(fields: dict[str, Any], record: str = REQUESTED) -> bytes:
    schema = CATALOG.named(record)
    return codec.frame_single_object(schema, codec.encode_body(schema, fields))


def long_form(value: bytes | None) -> bytes:
    """The same request: the length of its event ID in two bytes, where one would do."""
    assert value is not None
    return value[:_HEADER] + b"\xc8\x00" + value[_HEADER + 1 :]


def upper_case(value: bytes | None) -> bytes:
    """The same request: its event ID in capitals."""
    assert value is not None
    begin, end = _HEADER + 1, _HEADER + 37
    return value[:begin] + value[begin:end].upper() + value[end:]


def _completed(_: bytes, fields: dict[str, Any]) -> bytes:
    times = dict.fromkeys(("requested_at", "completed_at"), fields["requested_at"])
    same = {name: fields[name] for name in ("event_id", "user_id")}
    nothing = dict.fromkeys(("workflow_id", "run_id", "result", "error"))
    return framed({**same, **times, **nothing, "completion_id": fields["event_id"], "status": "FAILED"}, COMPLETED)


_SPOILT: dict[str, tuple[str, Callable[[bytes, dict[str, Any]], bytes | None]]] = {
    "junk": ("undecodable", lambda value, _: b"junk" + value[-20:]),
    "empty": ("undecodable", lambda *_: b""),
    "truncated": ("undecodable", lambda value, _: value[:-3]),
    "trailing": ("undecodable", lambda value, _: value + b"\x00"),
    "tombstone": ("undecodable", lambda *_: None),
    "fingerprint": ("unknown_schema", lambda value, _: b"\xc3\x01" + bytes(8) + value[_HEADER:]),
    "schema id": ("unknown_schema", lambda value, _: b"\x00\x00\x00\x00\x07" + value[_HEADER:]),
    "completion": ("unroutable", _completed),
    "blank": ("invalid", lambda _, fields: framed({**fields, "prompt": "  "})),
    "backend": ("invalid", lambda _, fields: framed({**fields, "backend": "crayon"})),
    "nil": ("invalid", lambda _, fields: framed({**fields, "event_id": UUID(int=0)})),
}
"""How a good value becomes a bad one, and as what it is dead-lettered."""
_OTHERWISE = ("ce_id", "borrowed", "too_large", "refused", "nothing")
"""How a record can be bad by more than its value."""
