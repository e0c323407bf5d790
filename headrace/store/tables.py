"""The SQL tables, portable between SQLite and PostgreSQL. Each has one owner; a change here comes with a migration."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import BigInteger, Column, DateTime, Dialect, Integer, LargeBinary, MetaData, String, Table, Text, Uuid
from sqlalchemy.types import TypeDecorator


class Instant(TypeDecorator[datetime]):
    """A moment, kept in UTC: SQLite has no time zones and would give back another moment than it was given."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - as above
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


METADATA = MetaData(naming_convention={"pk": "pk_%(table_name)s", "ix": "ix_%(table_name)s_%(column_0_name)s"})

LEDGER = Table(
    "ledger",
    METADATA,
    Column("event_id", Uuid, primary_key=True),
    Column("record", String, nullable=False),
    Column("payload_sha256", LargeBinary(32), nullable=False),
    Column("topic", String, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("disposition", String, nullable=False),
    Column("workflow_id", String),
    Column("run_id", String),
    Column("claimed_at", Instant, nullable=False, index=True),
    Column("settled_at", Instant),
)
"""The ingress's: each event ID, what it stands for, which record brought it first, and what became of it.

`disposition` is `pending` until Temporal has answered, then `started` or `signalled`, or `rejected` for an event that was dead-lettered
after it had its row.
"""

BREAKERS = Table(
    "breakers",
    METADATA,
    Column("route", String, primary_key=True),
    Column("topic", String, nullable=False),
    Column("cause", Text, nullable=False),
    Column("tripped_at", Instant, nullable=False),
)
"""The ingress's: the routes that are stopped, in every process, until `headrace route resume` removes their row."""

COMPLETIONS = Table(
    "completions",
    METADATA,
    Column("completion_id", Uuid, primary_key=True),
    Column("event_id", Uuid, nullable=False, index=True),
    Column("record", String, nullable=False),
    Column("topic", String, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("published_at", Instant, nullable=False),
)
"""The notifier's: which completion Kafka has acknowledged, and where."""

HISTORY = Table(
    "history",
    METADATA,
    Column("history_id", Uuid, primary_key=True),
    Column("event_id", Uuid, nullable=False, index=True),
    Column("user_id", String, nullable=False, index=True),
    Column("domain", String, nullable=False),
    Column("workflow_id", String, nullable=False),
    Column("run_id", String, nullable=False),
    Column("status", String, nullable=False),
    Column("prompt", Text, nullable=False),
    Column("key", Text),
    Column("url", Text),
    Column("size_bytes", BigInteger),
    Column("sha256", String),
    Column("error_code", String),
    Column("error_message", Text),
    Column("recorded_at", Instant, nullable=False),
    Column("published_topic", String),
    Column("published_partition", Integer),
    Column("published_offset", BigInteger),
)
"""The notifier's: what became of each request, and where its event is in the history topic; null until Kafka has acknowledged it."""

REDRIVES = Table(
    "redrives",
    METADATA,
    Column("dead_letter_id", Uuid, primary_key=True),
    Column("topic", String, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("event_id", Uuid, index=True),
    Column("reason", String, nullable=False),
    Column("state", String, nullable=False, index=True),
    Column("cause", Text),
    Column("redrive_id", Uuid, nullable=False, index=True),
    Column("redrives", Integer, nullable=False),
    Column("claimed_at", Instant, nullable=False),
    Column("settled_at", Instant),
    Column("to_topic", String, nullable=False),
    Column("to_partition", Integer, nullable=False),
    Column("to_offset", BigInteger),
    Column("to_offset_at_least", BigInteger, nullable=False),
)
"""The notifier's: what became of the dead letters that a redrive has had in its hands; those without a row are open.

`state` is `sending` from before the send until Kafka has acknowledged it, then `redriven`; or `parked`, with the cause. The record that was
sent again is at `to_offset`; while that is not known it is not before `to_offset_at_least`. `redrives` counts this one too.
"""

RERUNS = Table(
    "reruns",
    METADATA,
    Column("event_id", Uuid, primary_key=True),
    Column("generation", Integer, primary_key=True),
    Column("workflow_id", String, nullable=False),
    Column("failed_run_id", String, nullable=False),
    Column("rerun_id", Uuid, nullable=False),
    Column("claimed_at", Instant, nullable=False),
    Column("run_id", String),
)
"""The notifier's: the later generations of events whose run failed. `run_id` is null until Temporal has started it."""
