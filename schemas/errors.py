"""The errors that two processes must name alike: why a record is dead-lettered, and why a run failed.

Errors of the ingress are sorted by what happens next. `Rejected`: the record is dead-lettered. `Transient`: it waits and is tried again.
Anything else stops the process, and the record is redelivered.
"""

from enum import StrEnum

MAX_MESSAGE = 1000
"""Characters of text from outside that a payload, a header or a log may carry."""
MAX_REDRIVES = 5
"""A dead letter that was sent again so often is parked: one that comes back every time would go round for ever."""


def bounded(text: str, limit: int = MAX_MESSAGE) -> str:
    """`text`, cut to `limit` characters with a mark where something is missing."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


class Reason(StrEnum):
    """Why a record is in the dead-letter topic; the value of its `dlq_reason` header."""

    UNDECODABLE = "undecodable"
    """Not Avro in one of the two wire formats, or not the bytes that its schema says."""
    UNKNOWN_SCHEMA = "unknown_schema"
    """A fingerprint or schema ID that nobody knows."""
    INVALID = "invalid"
    """Decoded, but a value is refused."""
    UNROUTABLE = "unroutable"
    """A record for which this topic has no route."""
    ID_CONFLICT = "id_conflict"
    """Its event ID is that of another event: the same ID, another payload."""
    TOO_LARGE = "too_large"
    """More than Temporal takes as one payload, or a reference to more than the ingress takes at one time."""
    REJECTED_BY_TEMPORAL = "rejected_by_temporal"
    """The server answered INVALID_ARGUMENT."""
    UNKNOWN_TARGET = "unknown_target"
    """A command for an event that did not come within the time it waits for it."""
    TARGET_CLOSED = "target_closed"
    """A command for a run that has ended."""
    REFERENCE_REFUSED = "reference_refused"
    """Its `ce_dataref` is none that may be read: another bucket, another scheme, not below `requests/`, or of a command."""
    REFERENCE_MISSING = "reference_missing"
    """There is no object at its `ce_dataref`."""


class Rejected(Exception):  # noqa: N818 - named for what happens next
    """The record can never be processed as it is: it is dead-lettered with this reason."""

    def __init__(self, reason: Reason, message: str) -> None:
        self.reason = reason
        self.message = bounded(message)
        super().__init__(f"{reason}: {self.message}")


class Transient(Exception):  # noqa: N818 - as above
    """A part is away or busy: nothing is wrong with the record, it is tried again."""


class FailureType(StrEnum):
    """`ApplicationError.type` of a failed activity, and the `error.code` of the completion that tells of it. Never renamed."""

    INVALID_PROMPT = "InvalidPrompt"
    CONTENT_POLICY_VIOLATION = "ContentPolicyViolation"
    BACKEND_NOT_CONFIGURED = "BackendNotConfigured"
    BACKEND_CREDENTIALS_REFUSED = "BackendCredentialsRefused"
    BACKEND_REFUSED = "BackendRefused"
    """The backend calls the request itself wrong (4xx): asking again gives the same answer."""
    BACKEND_RATE_LIMITED = "BackendRateLimited"
    BACKEND_UNAVAILABLE = "BackendUnavailable"
    """5xx, a time-out, a broken connection or an answer that is no image."""
    IMAGE_LOST = "ImageLost"
    """The stored object is missing or is not the one that was generated."""
    STORAGE_UNAVAILABLE = "StorageUnavailable"
    UNKNOWN_CATEGORY = "UnknownCategory"
    """The shipped curriculum does not have it."""
    INVALID_SYLLABUS = "InvalidSyllabus"
    """What the language model answered is no syllabus: another schema, prerequisites in a circle, a topic twice, no hours."""
    RESOURCES_UNAVAILABLE = "ResourcesUnavailable"
    """The search for learning resources; never a completion's code: the module is reported as one without."""
    DATABASE_UNAVAILABLE = "DatabaseUnavailable"
    DATASET_NOT_ALLOWED = "DatasetNotAllowed"
    """A bucket or a key that this request may not read."""
    DATASET_NOT_FOUND = "DatasetNotFound"
    DATASET_ACCESS_DENIED = "DatasetAccessDenied"
    """S3 itself refuses to let Headrace read the object."""
    DATASET_TOO_LARGE = "DatasetTooLarge"
    """More bytes, rows, columns or memory than the settings allow."""
    DATASET_UNREADABLE = "DatasetUnreadable"
    """Not a file of the type that the request names, or a broken one."""
    DATASET_EMPTY = "DatasetEmpty"
    DATASET_ALL_MISSING = "DatasetAllMissing"
    DATASET_ONE_COLUMN = "DatasetOneColumn"
    NOTHING_TO_CLUSTER = "NothingToCluster"
    """Too few rows, or no column that tells rows apart by numbers or categories."""
    ANALYSIS_INTERRUPTED = "AnalysisInterrupted"
    """The process that computed ended before it was done; a crash, or the machine had no memory left."""
    INTERMEDIATE_LOST = "IntermediateLost"
    """What an earlier step stored is gone from the bucket."""
    UNKNOWN_ACCOUNT = "UnknownAccount"
    INSUFFICIENT_CREDITS = "InsufficientCredits"
    DUPLICATE_REFERENCE = "DuplicateReference"
    ITEM_SOLD_OUT = "ItemSoldOut"
    TRANSACTION_REVOKED = "TransactionRevoked"
    """A step came after its compensation, or without the step before it: it may not take effect any more."""
    COMPENSATION_BLOCKED = "CompensationBlocked"
    """The step after it is not taken back yet."""
    STORAGE_REFUSED = "StorageRefused"
    """S3, or the file system, does not permit it: credentials, rights, or a bucket that is not there. An operator mends it."""
    ARCHIVE_CONFLICT = "ArchiveConflict"
    """Under the key of an archive lies something else, which is not overwritten."""
    ARCHIVE_UNVERIFIED = "ArchiveUnverified"
    """What was read back is not what was written; nothing was deleted."""
    TIMED_OUT = "TimedOut"
    """Of a child: somebody ended its run from outside."""
    ALREADY_STARTED = "AlreadyStarted"
    """Of a child: its run exists, and it does not run twice."""
    NO_IMAGE = "NoImage"
    """A batch of which no prompt gave an image; its result says why, prompt by prompt."""
    RESULT_TOO_LARGE = "ResultTooLarge"
    """The run succeeded, and Kafka does not take a completion with its result."""
    CANCELLED = "Cancelled"
    TERMINATED = "Terminated"
    """Somebody has ended the run from outside; the message has their reason."""
    RUN_GONE = "RunGone"
    """Temporal knows the run no more: deleted, or ended without telling and past its retention."""
    INTERNAL = "Internal"
    """A fault of this software; the logs of the run have it."""
