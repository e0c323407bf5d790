"""The analysis domain's decisions, without a client or a server."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from uuid import UUID

from temporalio.exceptions import ApplicationError

from schemas.analysis import Finding, parse_uri, upload_prefix
from schemas.errors import FailureType, bounded
from workers.analysis.models import Validation

SCRATCH = "tmp/analyses/"
"""Below it lies what only the run itself needs. Anything there that is older than a run can be is nobody's."""
RESULTS = "analyses/"

_MOST_FINDINGS = 50
_ORDER = {"error": 0, "warning": 1, "info": 2}


def scratch_key(event_id: UUID, generation: int, name: str) -> str:
    """Derived from the request and its generation alone: a retried step writes the same object.

    A step of an earlier generation may still be at work, for a worker does not hear at once that its run was terminated.
    """
    return f"{SCRATCH}{_folder(event_id, generation)}/{name}"


def result_key(event_id: UUID, generation: int, name: str) -> str:
    """As above, for what is kept: what the completion of an earlier generation names stays as it was."""
    return f"{RESULTS}{_folder(event_id, generation)}/{name}"


def _folder(event_id: UUID, generation: int) -> str:
    return f"{event_id}" if generation == 1 else f"{event_id}/{generation}"


def readable(uri: str, user_id: str, own_bucket: str, allowed: Collection[str]) -> tuple[str, str]:
    """Bucket and key of what a request wants read, when it may.

    Whoever can produce to the topic chooses the URI, so it is held against a list of what may be read, never of what may not: in
    Headrace's own bucket the user's uploads and nothing else, though that bucket be on the list too; any key of the buckets on the list.
    Raises `ApplicationError(DATASET_NOT_ALLOWED)`.
    """
    bucket, key = parse_uri(uri)
    if bucket == own_bucket:
        if key.startswith(upload_prefix(user_id)):
            return bucket, key
        raise _refused(f"in the bucket {bucket} this request reads only below {upload_prefix(user_id)}: upload the data set there")
    if bucket in allowed:
        return bucket, key
    raise _refused(f"the bucket {bucket} is not one that data sets are read from: add it to HEADRACE_ANALYSIS_BUCKETS of the workers")


def _refused(message: str) -> ApplicationError:
    return ApplicationError(message, type=FailureType.DATASET_NOT_ALLOWED, non_retryable=True)


def invalid(validation: Validation) -> ApplicationError:
    """The error of a data set that is not analysed: the first finding's code, the sentences of all."""
    said = " ".join(finding.message for finding in validation.errors)
    return ApplicationError(f"Data validation failed: {said}", type=validation.errors[0].code, non_retryable=True)


def told(findings: Iterable[Finding]) -> list[Finding]:
    """The findings that a completion carries: errors first, no two the same, bounded in number and length."""
    once = {(finding.code, finding.column, finding.message): finding for finding in findings}
    ordered = sorted(once.values(), key=lambda finding: _ORDER.get(finding.severity, 3))
    return [finding.model_copy(update={"message": bounded(finding.message, 300)}) for finding in ordered[:_MOST_FINDINGS]]
