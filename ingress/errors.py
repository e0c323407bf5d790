"""What an error means, sorted by what happens next; `docs/guarantees.md` has the table.

`Rejected` (`schemas.errors`): nothing will ever make this record good, it is dead-lettered with its reason. `Transient`: a part is away or
busy, the record waits. Anything else, `NotSetUp` first of all, is not the record's fault and does not pass: the process ends, and nothing
is committed.
"""

from __future__ import annotations

from temporalio.service import RPCStatusCode

from headrace.temporal_refusals import NOT_PERMITTED, refused
from schemas.errors import Reason, Rejected, Transient, bounded

_BUSY = (RPCStatusCode.RESOURCE_EXHAUSTED, RPCStatusCode.DEADLINE_EXCEEDED)


class NotSetUp(Exception):  # noqa: N818 - what to mend, not what crashed
    """The environment lacks what every start needs. Fatal: a dead letter for each event would drain the topic."""


class Busy(Transient):
    """Temporal says that it has too much to do, or takes too long to answer: fewer calls at one time help."""


class StorageAway(Transient):
    """S3 does not take the argument of a workflow: Temporal was not asked, and nothing is said of it."""


def sort(status: RPCStatusCode, message: str) -> Rejected | Transient | NotSetUp:
    """What an answer other than OK means. Only INVALID_ARGUMENT speaks of this event; everything else passes or is mended by people."""
    if status == RPCStatusCode.INVALID_ARGUMENT:
        if "no mapping defined" in message:
            return NotSetUp(
                f"Temporal lacks a search attribute, and would refuse every event: run `headrace setup` ({bounded(message, 200)})"
            )
        return Rejected(Reason.TOO_LARGE if "data size exceeds limit" in message else Reason.REJECTED_BY_TEMPORAL, message)
    if status == RPCStatusCode.RESOURCE_EXHAUSTED and "larger than max" in message:
        return Rejected(Reason.TOO_LARGE, message)  # gRPC's own limit of one message; it would never pass
    if status == RPCStatusCode.NOT_FOUND:
        return NotSetUp(f"Temporal has no such namespace: create it or set TEMPORAL_NAMESPACE ({bounded(message, 200)})")
    if status in NOT_PERMITTED:
        return Transient(f"Temporal: {refused(status.name, message)}")
    kind = Busy if status in _BUSY else Transient
    return kind(f"Temporal answers {status.name}: {bounded(message, 200)}")
