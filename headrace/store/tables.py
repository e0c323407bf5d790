"""The SQL tables, portable between SQLite and PostgreSQL. Each has one owner; a change here comes with a migration."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Dialect,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
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


METADATA = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)

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

LEARNING_PATHS = Table(
    "learning_paths",
    METADATA,
    Column("path_id", Uuid, primary_key=True),
    Column("event_id", Uuid, nullable=False, unique=True),
    Column("user_id", String, nullable=False),
    Column("category", String, nullable=False),
    Column("version", Integer, nullable=False),
    Column("level", String, nullable=False),
    Column("learning_style", String, nullable=False),
    Column("time_commitment_hours", Integer, nullable=False),
    Column("duration_days", Integer, nullable=False),
    Column("path", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    UniqueConstraint("user_id", "category", "version"),
)
"""The learning domain's: the paths that were made, one row for each event; versions count within a user's category, which is its key.

`path` is a `LearningPathResult` as JSON, whose version is this row's.
"""

COMPLETIONS = Table(
    "completions",
    METADATA,
    Column("completion_id", Uuid, primary_key=True),
    Column("event_id", Uuid, nullable=False, index=True),
    Column("record", String, nullable=False),
    Column("status", String),
    Column("topic", String, nullable=False),
    Column("partition", Integer),
    Column("offset", BigInteger),
    Column("decided_at", Instant),
    Column("published_at", Instant),
    Column("key", LargeBinary),
    Column("value", LargeBinary),
    Column("headers", Text),
)
"""The notifier's: how each event ended, written before it is published: whoever writes the row first has decided.

`partition`, `offset` and `published_at` are null until Kafka has acknowledged it; `key`, `value` and `headers` (a JSON list of pairs) are
the record to be sent until then, and null afterwards. `status` is null in rows from before it was kept.
"""

_UNDELIVERED = COMPLETIONS.c.published_at.is_(None)
# Between a decision and its acknowledgement lie milliseconds: this holds what was left there.
Index("ix_completions_undelivered", COMPLETIONS.c.decided_at, sqlite_where=_UNDELIVERED, postgresql_where=_UNDELIVERED)

OPEN_EVENTS = Table(
    "open_events",
    METADATA,
    Column("event_id", Uuid, primary_key=True),
    Column("record", String, nullable=False),
    Column("topic", String, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("workflow_id", String, nullable=False),
    Column("run_id", String),
    Column("claimed_at", Instant, nullable=False, index=True),
    Column("next_check", Instant, nullable=False, index=True),
    Column("missing_since", Instant),
    Column("generation", Integer, nullable=False, server_default="1"),
)
"""The notifier's: accepted events that had no completion when the reconciler came by; gone when they have one.

`missing_since`: when Temporal was first seen not to know the run. Everything else is the ledger's, which may be purged meanwhile.
A later generation has its row from its claim on. An event has one row at most: a generation is claimed when the one before it is told.
"""

RECONCILER = Table(
    "reconciler",
    METADATA,
    Column("name", String, primary_key=True),
    Column("reached_at", Instant, nullable=False),
    Column("event_id", Uuid),
)
"""The notifier's: how far the reconciler has read. `ledger`: by `claimed_at` and event ID; `closed_runs`: by close time."""

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
    Column("recorded_at", Instant, nullable=False, index=True),
    Column("published_topic", String),
    Column("published_partition", Integer),
    Column("published_offset", BigInteger),
    Column("backend", String),
    Column("requested_at", Instant),
    Column("started_at", Instant),
    Column("archive_key", String, index=True),
)
"""The notifier's: what became of each request, and where its event is in the history topic; null until Kafka has acknowledged it.

`archive_key` alone is maintenance's: the archive that the row is on its way to. A row is in one archive, and leaves the table with it.
"""

HISTORY_ARCHIVES = Table(
    "history_archives",
    METADATA,
    Column("key", String, primary_key=True),
    Column("day", Date, nullable=False, index=True),
    Column("rows", Integer, nullable=False),
    Column("size_bytes", BigInteger),
    Column("sha256", String),
    Column("planned_at", Instant, nullable=False),
    Column("archived_at", Instant),
    Column("run_id", String, index=True),
)
"""Maintenance's: each Parquet file of history in the bucket. `archived_at` is null until the file is verified and its rows are deleted."""

DAILY_ANALYTICS = Table(
    "daily_analytics",
    METADATA,
    Column("day", Date, primary_key=True),
    Column("domain", String, primary_key=True),
    Column("backend", String, primary_key=True),
    *(
        Column(name, Integer, nullable=False)
        for name in ("total", "succeeded", "failed", "cancelled", "timed_out", "terminated", "rejected")
    ),
    Column("error_codes", Text, nullable=False),
    *(Column(f"{measure}_seconds_{name}", Float) for measure in ("run", "answer") for name in ("p50", "p95", "p99", "max")),
)
"""Maintenance's: each UTC day, by domain and backend (empty where a request names none).

`error_codes` is a JSON object of counts. `run` is from the start of the run to its outcome, `answer` from the request to the outcome.
"""

ANALYSES = Table(
    "analyses",
    METADATA,
    Column("event_id", Uuid, primary_key=True),
    Column("analysis_id", Uuid, nullable=False),
    Column("user_id", String, nullable=False, index=True),
    Column("file_path", Text, nullable=False),
    Column("file_type", String, nullable=False),
    Column("analysis_type", String, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("columns", Integer, nullable=False),
    Column("clusters", Integer),
    Column("summary", Text, nullable=False),
    Column("report_key", Text, nullable=False),
    Column("report_sha256", String, nullable=False),
    Column("requested_at", Instant, nullable=False),
)
"""The analysis domain's: each finished analysis of a data set, and where its report lies."""
CREDIT_ACCOUNTS = Table(
    "credit_accounts",
    METADATA,
    Column("user_id", String, primary_key=True),
    Column("balance", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),
    CheckConstraint("0 <= held AND held <= balance", name="ck_credit_accounts_held"),
)
"""The transaction domain's: each user's credits. What is held is part of the balance and cannot be spent twice.

`balance` is the sum of the account's entries and `held` that of its open holds, at every commit: `workers.transaction.audit` proves it.
"""

CREDIT_HOLDS = Table(
    "credit_holds",
    METADATA,
    Column("transaction_id", String, primary_key=True),
    Column("user_id", String, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("reference", String, nullable=False),
    Column("state", String, nullable=False),
    Column("held_at", Instant, nullable=False),
)
"""The transaction domain's: credits that a transaction has put aside. `held` -> `spent` (there is an order) -> `settled` (it is in the
books), or `released`. Of these, `held` and `spent` count as held by the account.
"""

_USED = text("reference <> '' AND state <> 'released'")
Index(
    "uq_credit_holds_reference", CREDIT_HOLDS.c.user_id, CREDIT_HOLDS.c.reference, unique=True, sqlite_where=_USED, postgresql_where=_USED
)

CREDIT_ORDERS = Table(
    "credit_orders",
    METADATA,
    Column("transaction_id", String, primary_key=True),
    Column("user_id", String, nullable=False),
    Column("item", String, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("state", String, nullable=False),
    Column("ordered_at", Instant, nullable=False),
)
"""The transaction domain's: what was bought. `placed` -> `paid`, or `withdrawn`."""

CREDIT_STOCK = Table(
    "credit_stock",
    METADATA,
    Column("item", String, primary_key=True),
    Column("available", BigInteger, nullable=False),
    CheckConstraint("0 <= available", name="ck_credit_stock_available"),
)
"""The transaction domain's: how many there are left of the items of which there are not any number. The others have no row."""

CREDIT_ENTRIES = Table(
    "credit_entries",
    METADATA,
    Column("transfer_id", String, primary_key=True),
    Column("kind", String, primary_key=True),
    Column("account", String, primary_key=True),
    Column("amount", BigInteger, nullable=False),
    Column("entered_at", Instant, nullable=False),
)
"""The transaction domain's: the double-entry ledger. The amounts of one transfer and kind add up to zero; no row is ever changed.

`kind` is `grant` (`transfer_id` is its reference), `payment` or `refund` (it is the transaction's ID); `account` is `user:<user_id>`,
`revenue` or `grants`.
"""

CREDIT_STEPS = Table(
    "credit_steps",
    METADATA,
    Column("transaction_id", String, primary_key=True),
    Column("step", String, primary_key=True),
    Column("state", String, nullable=False),
    Column("answer", BigInteger),
    Column("changed_at", Instant, nullable=False),
)
"""The transaction domain's: which step of which transaction has had its effect, and its answer. It is the same after a repetition.

`state` is `done` or `undone`; a step that is taken back before it came gets its row as `prevented`, and then finds it there.
"""

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

DEAD_LETTERS = Table(
    "dead_letters",
    METADATA,
    Column("topic", String, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("offset", BigInteger, primary_key=True),
    Column("event_id", Uuid, index=True),
    Column("reason", String, nullable=False),
    Column("message", Text, nullable=False),
    Column("dlq_topic", String, nullable=False),
    Column("dlq_partition", Integer, nullable=False),
    Column("dlq_offset", BigInteger, nullable=False),
    Column("receipt_id", Uuid),
    Column("dead_lettered_at", Instant, nullable=False),
    Index("ix_dead_letters_dead_lettered_at", "dead_lettered_at", "reason"),
)
"""The ingress's: an index of the dead letters that it knows to be acknowledged, for people; what counts is in the dead-letter topics.

The key is the record that was refused. Dead-lettered again after a crash it is the same row, which then names the last of its dead letters.
`event_id` is null when it cannot be read, `receipt_id` when nobody could be told.
"""
