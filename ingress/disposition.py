"""How a record ended. Each record has exactly one of these."""

from dataclasses import dataclass
from typing import assert_never
from uuid import UUID

from schemas.errors import Reason


@dataclass(frozen=True, slots=True)
class Started:
    """A workflow was started for it."""

    event_id: UUID
    workflow_id: str
    run_id: str | None


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Its event already has a workflow."""

    event_id: UUID
    workflow_id: str
    run_id: str | None


@dataclass(frozen=True, slots=True)
class Signalled:
    """A run has its command."""

    event_id: UUID
    workflow_id: str
    run_id: str | None


@dataclass(frozen=True, slots=True)
class DeadLettered:
    """It is in the dead-letter topic."""

    reason: Reason
    message: str
    event_id: UUID | None


Disposition = Started | Duplicate | Signalled | DeadLettered


def word(disposition: Disposition) -> str:
    """As logs and metrics spell it."""
    match disposition:
        case Started():
            return "started"
        case Duplicate():
            return "duplicate"
        case Signalled():
            return "signalled"
        case DeadLettered():
            return "dead_lettered"
        case _:
            assert_never(disposition)
