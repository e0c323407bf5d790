"""The ledger's statements.

They go to the driver as text with values that are converted here: composed and converted by SQLAlchemy they cost twice the CPU, and
they are most of what the ingress spends on an event beside its start.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable
from dataclasses import astuple, dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, Dialect, delete, select

from headrace.store.tables import LEDGER

PENDING, REJECTED = "pending", "rejected"


@dataclass(frozen=True, slots=True)
class Claim:
    """What a record says of its event."""

    event_id: UUID
    record: str
    payload_sha256: bytes
    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Burial:
    """A dead letter that Kafka has acknowledged: the refused record's place, and its own."""

    topic: str
    partition: int
    offset: int
    event_id: UUID | None
    reason: str
    message: str
    dlq_topic: str
    dlq_partition: int
    dlq_offset: int
    receipt_id: UUID | None


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of an event."""

    event_id: UUID
    disposition: str
    workflow_id: str | None
    run_id: str | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One row: which record brought the event first, and what became of it."""

    event_id: UUID
    record: str
    payload_sha256: bytes
    topic: str
    partition: int
    offset: int
    disposition: str
    workflow_id: str | None
    run_id: str | None


_SELECT = """SELECT event_id, record, payload_sha256, topic, partition, "offset", disposition, workflow_id, run_id
FROM ledger WHERE event_id """

_UPDATE = "UPDATE ledger SET disposition"

_INSERT_INTO = 'INSERT INTO ledger (event_id, record, payload_sha256, topic, partition, "offset", disposition, claimed_at) '

# A conflicting row is locked even where it stays as it is: what is read after this in the same transaction is still there.
_UNLESS_HELD = """
ON CONFLICT (event_id) DO UPDATE SET
    record = excluded.record, payload_sha256 = excluded.payload_sha256, topic = excluded.topic, partition = excluded.partition,
    "offset" = excluded."offset", disposition = excluded.disposition, workflow_id = NULL, run_id = NULL,
    claimed_at = excluded.claimed_at, settled_at = NULL
WHERE ledger.disposition = 'rejected'"""


_BURY = """INSERT INTO dead_letters (topic, partition, "offset", event_id, reason, message, dlq_topic, dlq_partition, dlq_offset,
    receipt_id, dead_lettered_at) VALUES """

_UNLESS_BURIED = """
ON CONFLICT (topic, partition, "offset") DO UPDATE SET
    event_id = excluded.event_id, reason = excluded.reason, message = excluded.message, dlq_topic = excluded.dlq_topic,
    dlq_partition = excluded.dlq_partition, dlq_offset = excluded.dlq_offset, receipt_id = excluded.receipt_id,
    dead_lettered_at = excluded.dead_lettered_at"""


class Rows(ABC):
    """The statements of one kind of database."""

    def __init__(self, dialect: Dialect) -> None:
        convert = LEDGER.c.claimed_at.type.dialect_impl(dialect).bind_processor(dialect)
        self._moment: Callable[[datetime], object] = convert or (lambda moment: moment)

    def apply(
        self,
        connection: Connection,
        claims: Collection[Claim],
        settlements: Collection[Settlement],
        finds: Iterable[UUID],
        burials: Collection[Burial],
        now: datetime,
    ) -> tuple[dict[UUID, Entry], int]:
        """One transaction, and none that writes when all claims are known. The rows of `claims` and `finds`, and how many are new.

        Of several claims of one event the first is the one that counts. No event may be both settled and claimed here.
        """
        first: dict[UUID, Claim] = {}
        for claim in claims:
            first.setdefault(claim.event_id, claim)
        wanted = first.keys() | finds
        entries = self.read(connection, wanted) if wanted else {}
        new = [claim for claim in first.values() if (entry := entries.get(claim.event_id)) is None or entry.disposition == REJECTED]
        if not (new or settlements or burials):
            connection.rollback()
            return entries, 0
        self._begin(connection)
        inserted = 0
        if new:
            # In one order in every process: else two that insert the same events wait for each other.
            new.sort(key=lambda claim: claim.event_id.int)
            inserted = self._insert(connection, new, now)
            if inserted == len(new):
                entries.update((claim.event_id, _entry(claim)) for claim in new)
            else:
                entries.update(self.read(connection, [claim.event_id for claim in new]))
        if settlements:
            self._settle(connection, sorted(settlements, key=lambda settlement: settlement.event_id.int), now)
        if burials:
            self._bury(connection, sorted(burials, key=lambda burial: (burial.topic, burial.partition, burial.offset)), now)
        connection.commit()
        return entries, inserted

    @abstractmethod
    def read(self, connection: Connection, event_ids: Collection[UUID]) -> dict[UUID, Entry]: ...

    @abstractmethod
    def _begin(self, connection: Connection) -> None: ...

    @abstractmethod
    def _insert(self, connection: Connection, claims: list[Claim], now: datetime) -> int:
        """How many rows are new; the events of the others are held by whoever was first."""

    @abstractmethod
    def _settle(self, connection: Connection, settlements: list[Settlement], now: datetime) -> None:
        """Rows that are settled already stay as they are."""

    @abstractmethod
    def _bury(self, connection: Connection, burials: list[Burial], now: datetime) -> None:
        """Of a record that is there already the last dead letter counts."""


class _SqliteRows(Rows):
    _READ = f"{_SELECT} IN (SELECT value FROM json_each(?))"  # noqa: S608 - constants
    _INSERT = f"{_INSERT_INTO} VALUES (?, ?, ?, ?, ?, ?, '{PENDING}', ?) {_UNLESS_HELD}"
    _SETTLE = f"{_UPDATE} = ?, workflow_id = ?, run_id = ?, settled_at = ? WHERE event_id = ? AND disposition = '{PENDING}'"
    _BURIED = f"{_BURY} (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) {_UNLESS_BURIED}"

    def read(self, connection: Connection, event_ids: Collection[UUID]) -> dict[UUID, Entry]:
        wanted = {event_id.hex: event_id for event_id in event_ids}  # SQLAlchemy's form of a UUID there
        found = connection.exec_driver_sql(self._READ, (json.dumps(list(wanted)),))
        return {(event_id := wanted[row[0]]): Entry(event_id, *row[1:]) for row in found}

    def _begin(self, connection: Connection) -> None:
        # A transaction that began by reading fails at once when another process has written meanwhile; this one waits its turn.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    def _insert(self, connection: Connection, claims: list[Claim], now: datetime) -> int:
        moment = self._moment(now)
        rows = [(c.event_id.hex, c.record, c.payload_sha256, c.topic, c.partition, c.offset, moment) for c in claims]
        return connection.exec_driver_sql(self._INSERT, rows).rowcount

    def _settle(self, connection: Connection, settlements: list[Settlement], now: datetime) -> None:
        moment = self._moment(now)
        rows = [(s.disposition, s.workflow_id, s.run_id, moment, s.event_id.hex) for s in settlements]
        connection.exec_driver_sql(self._SETTLE, rows)

    def _bury(self, connection: Connection, burials: list[Burial], now: datetime) -> None:
        moment = self._moment(now)
        rows = [(*(each.hex if isinstance(each, UUID) else each for each in astuple(burial)), moment) for burial in burials]
        connection.exec_driver_sql(self._BURIED, rows)


class _PostgresRows(Rows):
    _READ = f"{_SELECT} = ANY($1::uuid[])"
    _INSERT = f"""{_INSERT_INTO} SELECT u.event_id, u.record, u.payload_sha256, u.topic, u.partition, u."offset", '{PENDING}', $7
        FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::text[], $5::int[], $6::bigint[])
        AS u (event_id, record, payload_sha256, topic, partition, "offset") ORDER BY u.event_id {_UNLESS_HELD}"""  # noqa: S608 - constants
    _SETTLE = f"{_UPDATE} = $1, workflow_id = $2, run_id = $3, settled_at = $4 WHERE event_id = $5 AND disposition = '{PENDING}'"
    _BURIED = f"{_BURY} ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) {_UNLESS_BURIED}"

    def read(self, connection: Connection, event_ids: Collection[UUID]) -> dict[UUID, Entry]:
        return {row[0]: Entry(*row) for row in connection.exec_driver_sql(self._READ, (list(event_ids),))}

    def _begin(self, connection: Connection) -> None:
        pass  # it has begun with the first statement, and READ COMMITTED sees what others committed since

    def _insert(self, connection: Connection, claims: list[Claim], now: datetime) -> int:
        rows = zip(*[(c.event_id, c.record, c.payload_sha256, c.topic, c.partition, c.offset) for c in claims], strict=True)
        return connection.exec_driver_sql(self._INSERT, (*map(list, rows), now)).rowcount

    def _settle(self, connection: Connection, settlements: list[Settlement], now: datetime) -> None:
        rows = [(s.disposition, s.workflow_id, s.run_id, now, s.event_id) for s in settlements]
        connection.exec_driver_sql(self._SETTLE, rows)

    def _bury(self, connection: Connection, burials: list[Burial], now: datetime) -> None:
        connection.exec_driver_sql(self._BURIED, [(*astuple(burial), now) for burial in burials])


def rows(dialect: Dialect) -> Rows:
    return _SqliteRows(dialect) if dialect.name == "sqlite" else _PostgresRows(dialect)


def purge(connection: Connection, before: datetime, at_most: int) -> int:
    """Removes settled rows that were claimed before a moment, the oldest first; how many it were."""
    old = (
        select(LEDGER.c.event_id)
        .where(LEDGER.c.claimed_at < before, LEDGER.c.disposition != PENDING)
        .order_by(LEDGER.c.claimed_at)
        .limit(at_most)
    )
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    removed = connection.execute(delete(LEDGER).where(LEDGER.c.event_id.in_(old))).rowcount
    connection.commit()
    return removed


def _entry(claim: Claim) -> Entry:
    return Entry(claim.event_id, claim.record, claim.payload_sha256, claim.topic, claim.partition, claim.offset, PENDING, None, None)
