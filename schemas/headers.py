"""Record headers: CloudEvents 1.0 in Kafka's binary mode, W3C `traceparent`, and those that a dead letter adds.

CloudEvents: "Kafka Protocol Binding for CloudEvents 1.0", section 3.2. Trace context: W3C Recommendation, section 3.2.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from schemas.errors import Reason, Rejected, bounded

Headers = list[tuple[str, bytes | None]]
"""In the order of the record; a key may come more than once."""

CE_ID = "ce_id"
CE_TYPE = "ce_type"
CE_GENERATION = "ce_generation"
CE_DATAREF = "ce_dataref"
"""CloudEvents extension "Dataref (Claim Check Pattern)": where the value lies that is not in the record."""
TRACEPARENT = "traceparent"
VALUE_SCHEMA = "__value_schema_id"
"""Where Confluent's serializers put a schema's GUID when they are told to write none in front of the value."""

DLQ_REASON = "dlq_reason"
DLQ_MESSAGE = "dlq_message"
DLQ_TOPIC = "dlq_topic"
DLQ_PARTITION = "dlq_partition"
DLQ_OFFSET = "dlq_offset"
DLQ_TIME = "dlq_time"
DLQ_RECEIPT = "dlq_receipt"
"""The `completion_id` of the receipt that its sender gets; `none: ` and why when nobody can be told."""

CONFLICT_TOPIC = "conflict_topic"
CONFLICT_PARTITION = "conflict_partition"
CONFLICT_OFFSET = "conflict_offset"
"""In the receipt for an `id_conflict`: the record that had the event ID first."""
_OWN = (DLQ_REASON, DLQ_MESSAGE, DLQ_TOPIC, DLQ_PARTITION, DLQ_OFFSET, DLQ_TIME)

DLQ_REDRIVES = "dlq_redrives"
"""How often a record was sent again; it comes back in the next dead letter, since that keeps the record's headers."""
DLQ_REDRIVE_ID = "dlq_redrive_id"
"""Which dead letter a record was sent again for."""
_REDRIVEN = (DLQ_REDRIVES, DLQ_REDRIVE_ID)
_MOST_REDRIVES = 1_000_000

# Version 00 is complete; a later one may go on behind a hyphen; ff is none.
_TRACEPARENT = re.compile(
    rb"(?!ff)(?P<version>[0-9a-f]{2})-(?P<ids>(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?", re.DOTALL
)


def cloud_event(
    *,
    event_id: UUID,
    event_type: str,
    source: str,
    time: datetime,
    subject: str | None = None,
    traceparent: str | None = None,
    generation: int = 1,
) -> Headers:
    """The headers of an event whose value is Avro; `event_type` is the full name of its record.

    The CloudEvents extension `generation` is there from the second on.
    """
    headers: Headers = [
        ("ce_specversion", b"1.0"),
        (CE_ID, str(event_id).encode()),
        (CE_TYPE, event_type.encode()),
        ("ce_source", source.encode()),
        ("ce_time", rfc3339(time).encode()),
        ("content-type", b"application/avro"),
    ]
    if subject is not None:
        headers.append(("ce_subject", subject.encode()))
    if traceparent is not None:
        headers.append((TRACEPARENT, traceparent.encode()))
    if generation > 1:
        headers.append((CE_GENERATION, str(generation).encode()))
    return headers


def check_event_id(headers: Iterable[tuple[str, bytes | None]], event_id: UUID) -> None:
    """Holds every `ce_id` header against the event ID in the record's value; none at all is fine.

    Raises `Rejected(INVALID)`: two identities in one record would make two events of it, one for each reader.
    """
    for name, value in headers:
        if name == CE_ID and (value is None or value.decode("utf-8", "replace").strip().lower() != str(event_id)):
            shown = None if value is None else bounded(value.decode("utf-8", "replace"), 100)
            raise Rejected(Reason.INVALID, f"header ce_id is {shown!r}, but event_id in the value is {event_id}: send the same in both")


def ce_id(headers: Iterable[tuple[str, bytes | None]]) -> str | None:
    """The first `ce_id` that says something."""
    return next((value.decode("utf-8", "replace") for name, value in headers if name == CE_ID and value), None)


def dataref(value: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> str | None:
    """Where the value of a record lies that has none; None for one that carries its value, whatever its headers say.

    Raises `Rejected(REFERENCE_REFUSED)` for two places: one reader would take the first and another the last.
    """
    if value:
        return None
    found = {(place or b"").decode("utf-8", "replace") for name, place in headers if name == CE_DATAREF}
    if len(found) > 1:
        raise Rejected(Reason.REFERENCE_REFUSED, f"{len(found)} different {CE_DATAREF} headers: send one")
    return found.pop() if found else None


def traceparent(headers: Iterable[tuple[str, bytes | None]]) -> str | None:
    """The first well-formed `traceparent`, as version 00; a malformed one is ignored, as the recommendation asks."""
    for name, value in headers:
        match = _TRACEPARENT.fullmatch(value) if name == TRACEPARENT and value is not None else None
        if match is None:
            continue
        version, ids, flags = match["version"], match["ids"].decode(), int(match["flags"], 16)
        if version == b"00" and match["more"] is None:
            return f"00-{ids}-{flags:02x}"
        if version != b"00":
            return f"00-{ids}-{flags & 1:02x}"  # of a later version only the sampled flag is known
    return None


def dead_letter(
    original: Iterable[tuple[str, bytes | None]],
    error: Rejected,
    *,
    topic: str,
    partition: int,
    offset: int,
    time: datetime,
    receipt: str | None = None,
) -> Headers:
    """The original headers as they were, followed by the dead letter's own. Of a repeated name the last one is ours."""
    added: Headers = [
        (DLQ_REASON, error.reason.encode()),
        (DLQ_MESSAGE, error.message.encode("utf-8", "replace")),
        (DLQ_TOPIC, topic.encode()),
        (DLQ_PARTITION, str(partition).encode()),
        (DLQ_OFFSET, str(offset).encode()),
        (DLQ_TIME, rfc3339(time).encode()),
    ]
    if receipt is not None:
        added.append((DLQ_RECEIPT, receipt.encode("utf-8", "replace")))
    return [*original, *added]


def refused(error: Rejected, *, topic: str, partition: int, offset: int, first: tuple[str, int, int] | None) -> Headers:
    """Of a receipt: why and where its record was refused, as its dead letter says it, and which record it is in conflict with."""
    headers: Headers = [
        (DLQ_REASON, error.reason.encode()),
        (DLQ_TOPIC, topic.encode()),
        (DLQ_PARTITION, str(partition).encode()),
        (DLQ_OFFSET, str(offset).encode()),
    ]
    if first is not None:
        names = (CONFLICT_TOPIC, CONFLICT_PARTITION, CONFLICT_OFFSET)
        headers += [(name, str(value).encode()) for name, value in zip(names, first, strict=True)]
    return headers


@dataclass(frozen=True, slots=True)
class Buried:
    """What the headers of a dead letter say."""

    original: Headers
    """Those of the record as its sender wrote them."""
    reason: str
    message: str
    topic: str
    partition: int
    offset: int
    time: str
    """RFC 3339, as it is written."""
    redrives: int
    """How often the record had been sent again before it came here."""


def buried(headers: Iterable[tuple[str, bytes | None]]) -> Buried | None:
    """Takes apart what `dead_letter` and `redriven` put together; None for a record that is no dead letter.

    Only what stands at the end is ours: a sender may have headers of the same names.
    """
    original = list(headers)
    if original and original[-1][0] == DLQ_RECEIPT:
        original.pop()
    own = [(value or b"").decode("utf-8", "replace") for _, value in original[-len(_OWN) :]]
    if tuple(name for name, _ in original[-len(_OWN) :]) != _OWN:
        return None
    del original[-len(_OWN) :]
    reason, message, topic, partition, offset, time = own
    try:
        place = int(partition), int(offset)
        datetime.fromisoformat(time)
    except ValueError:
        return None
    redrives = _redrives(original)
    if redrives is not None:
        del original[-len(_REDRIVEN) :]
    return Buried(original, reason, message, topic, *place, time, redrives or 0)


def redriven(dead: Buried, dead_letter_id: UUID) -> Headers:
    """The headers under which a dead letter's record is sent again: those of its sender, and how often and for what it was."""
    return [*dead.original, (DLQ_REDRIVES, str(dead.redrives + 1).encode()), (DLQ_REDRIVE_ID, str(dead_letter_id).encode())]


def redrive_id(headers: Iterable[tuple[str, bytes | None]]) -> UUID | None:
    """The dead letter for which a record was sent again; None for any other record."""
    sent = list(headers)
    if _redrives(sent) is None:
        return None
    try:
        return UUID((sent[-1][1] or b"").decode())
    except ValueError:
        return None


def _redrives(headers: Headers) -> int | None:
    """None when the headers do not end with those of a redrive."""
    if tuple(name for name, _ in headers[-len(_REDRIVEN) :]) != _REDRIVEN:
        return None
    value = headers[-len(_REDRIVEN)][1] or b""
    return min(int(value), _MOST_REDRIVES) if re.fullmatch(rb"[0-9]{1,7}", value) else None


def rfc3339(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
