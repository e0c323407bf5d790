"""What one run of the chaos suite left behind: read from Kafka, Temporal, the ledger and the logs, and nothing that is made up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

Partition = tuple[str, int]
Headers = tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a record lies."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}@{self.offset}"


@dataclass(frozen=True, slots=True)
class Good:
    """A request that can be accepted; records of one event with the same `content` are duplicates, with another are conflicts."""

    event_id: UUID
    content: str


@dataclass(frozen=True, slots=True)
class Signal:
    """A command to the run of another event."""

    event_id: UUID
    target: UUID


@dataclass(frozen=True, slots=True)
class Bad:
    """A record that must be dead-lettered, whatever happens."""

    reason: str
    event_id: UUID | None = None
    """Of a request that gets as far as the ledger."""


Expected = Good | Signal | Bad


@dataclass(frozen=True, slots=True)
class Record:
    """As Kafka has it, and what the plan says must become of it."""

    place: Place
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: int
    expected: Expected


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter; `headers` are those before its own."""

    source: Place
    reason: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: int


@dataclass(frozen=True, slots=True)
class Row:
    """Of the ledger."""

    event_id: UUID
    place: Place
    disposition: str
    workflow_id: str | None
    run_id: str | None


@dataclass(frozen=True, slots=True)
class Run:
    """Of Temporal, from its first history event."""

    workflow_id: str
    run_id: str
    started: int
    """Nanoseconds, by the server's clock."""
    origin: Place
    key: bytes | None
    content: str
    signals: tuple[UUID, ...] = ()
    """Event IDs of the commands in its history, in its order."""


@dataclass(frozen=True, slots=True)
class StartCall:
    """One call as it arrived at Temporal's door."""

    number: int
    workflow_id: str
    origin: Place
    key: bytes | None
    forwarded: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Taken while every ingress process stood still: what was committed, and what had a disposition at that moment."""

    at: float
    committed: Mapping[Partition, int]
    rows: Mapping[UUID, Row]
    dead: frozenset[Place]


@dataclass(frozen=True, slots=True)
class Process:
    """What one ingress process said."""

    name: str
    ending: str
    """How it ended, empty when as it was told to."""
    told: Sequence[tuple[Place, str]]
    """Each record's place and disposition, in the order of its log."""
    counted: Mapping[str, int] | None = None
    """Its own counters by disposition, read when it had nothing left to do."""
    left_over: int = 0
    """Records and bytes that it then still counted as in flight."""


@dataclass(frozen=True)
class History:
    """Everything."""

    records: Sequence[Record]
    letters: Sequence[Letter]
    rows: Mapping[UUID, Row]
    runs: Sequence[Run]
    calls: Sequence[StartCall]
    committed: Mapping[Partition, int]
    ends: Mapping[Partition, int]
    snapshots: Sequence[Snapshot] = ()
    processes: Sequence[Process] = ()
    forgotten: frozenset[str] = field(default_factory=frozenset)
    """Workflow IDs that Temporal was made to forget: their events have had their run and must not get another."""
