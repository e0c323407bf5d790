"""What one place says of an event."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

What = Literal[
    "requested",
    "claimed",
    "started",
    "signalled",
    "rejected",
    "run_started",
    "signal_received",
    "run_ended",
    "run_unknown",
    "history_cut",
    "completion_decided",
    "completion_published",
    "history_recorded",
    "dead_lettered",
    "redrive",
    "rerun",
    "open",
    "traced",
    "not_asked",
]
"""
- `requested`: the record in its request topic
- `claimed`: the ledger has the event for the first time
- `started`, `signalled`, `rejected`: what Temporal, or the dead letters, made of it, as the ledger has it
- `run_started`, `signal_received`, `run_ended`: Temporal's history of a run
- `run_unknown`: the ledger says that it was started, and Temporal knows it no more
- `history_cut`: the run's history is longer than what is read of it
- `completion_decided`, `completion_published`: the completion, or a receipt, before and after Kafka's acknowledgement
- `history_recorded`: the entry in `history`
- `dead_lettered`, `redrive`, `rerun`: the dead letter; what became of one; a later generation of the event
- `open`: the reconciler waits for its completion
- `traced`: the trace to look for
- `not_asked`: a place that does not answer
"""

_NO_TIME = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of the timeline."""

    at: datetime | None
    """None where nobody has written down when."""
    what: What
    where: str | None
    """`TOPIC:PARTITION:OFFSET`, `WORKFLOW_ID/RUN_ID`, a table, or the place that does not answer."""
    details: dict[str, Any] = field(default_factory=dict)
    """Texts, numbers, moments, UUIDs; nothing of a payload."""


def place(topic: str, partition: int, offset: int) -> str:
    return f"{topic}:{partition}:{offset}"


def in_order(facts: list[Fact]) -> list[Fact]:
    """By time; what has none comes last, in the order that it was found in."""
    return sorted(facts, key=lambda fact: fact.at or _NO_TIME)


def known(facts: list[Fact]) -> bool:
    """Whether any of them says something of the event."""
    return any(fact.what != "not_asked" for fact in facts)
