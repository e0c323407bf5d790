from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from schemas import headers
from schemas.errors import Reason, Rejected

EVENT = UUID("6f9619ff-8b86-4d01-b42d-00cf4fc964ff")
TIME = datetime(2026, 3, 4, 7, 6, 7, 89_999, tzinfo=timezone(timedelta(hours=2)))
TRACE = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"
PARENT = f"00-{TRACE}-01"


def test_a_cloud_event_has_the_headers_of_the_binding() -> None:
    made = headers.cloud_event(event_id=EVENT, event_type="headrace.image.R", source="headrace/notifier", time=TIME)
    assert made == [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"6f9619ff-8b86-4d01-b42d-00cf4fc964ff"),
        ("ce_type", b"headrace.image.R"),
        ("ce_source", b"headrace/notifier"),
        ("ce_time", b"2026-03-04T05:06:07.089Z"),
        ("content-type", b"application/avro"),
    ]


def test_subject_and_trace_are_sent_when_there_are_any() -> None:
    made = headers.cloud_event(event_id=EVENT, event_type="R", source="s", time=TIME, subject="what", traceparent=PARENT)
    assert made[-2:] == [("ce_subject", b"what"), ("traceparent", PARENT.encode())]


@pytest.mark.parametrize("value", [str(EVENT), str(EVENT).upper(), f" {EVENT}\n"])
def test_the_same_identity_in_header_and_value_passes(value: str) -> None:
    headers.check_event_id([("ce_id", value.encode()), ("other", b"x")], EVENT)
    headers.check_event_id([], EVENT)


@pytest.mark.parametrize("value", [None, b"", b"\xff", b"6f9619ff8b864d01b42d00cf4fc964ff", b"x" * 5000])
def test_two_identities_in_one_record_are_refused(value: bytes | None) -> None:
    with pytest.raises(Rejected, match="send the same in both") as caught:
        headers.check_event_id([("ce_id", str(EVENT).encode()), ("ce_id", value)], EVENT)
    assert caught.value.reason is Reason.INVALID
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    ("sent", "understood"),
    [
        (PARENT, PARENT),
        (f"00-{TRACE}-ff", f"00-{TRACE}-ff"),
        (f"cc-{TRACE}-03", f"00-{TRACE}-01"),
        (f"cc-{TRACE}-02-what-the-future-will-be-like", f"00-{TRACE}-00"),
        (f"ff-{TRACE}-01", None),
        (f"00-{TRACE}-01-more", None),
        (f"cc-{TRACE}-01more", None),
        (f"00-{TRACE}-01\n", None),
        (f"00-{TRACE.upper()}-01", None),
        (f"00-{'0' * 32}-b7ad6b7169203331-01", None),
        (f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01", None),
        ("", None),
        (None, None),
    ],
)
def test_a_malformed_traceparent_is_ignored_and_a_later_version_is_understood(sent: str | None, understood: str | None) -> None:
    assert headers.traceparent([("traceparent", None if sent is None else sent.encode())]) == understood


def test_the_first_wellformed_traceparent_counts() -> None:
    assert headers.traceparent([("traceparent", b"x"), ("traceparent", PARENT.encode()), ("traceparent", b"y")]) == PARENT
    assert headers.traceparent([]) is None


def test_a_dead_letter_keeps_the_original_headers_in_their_order_and_adds_its_own_last() -> None:
    original: headers.Headers = [("a", b"\xff"), ("a", None), ("dlq_reason", b"from an earlier time")]
    error = Rejected(Reason.UNDECODABLE, "naïve \ud800 " + "x" * 5000)
    made = headers.dead_letter(
        original, error, topic="image.requests", partition=3, offset=42, time=TIME.astimezone(UTC), receipt="none: why"
    )
    assert made[:3] == original
    assert dict(made[3:]) == {
        "dlq_reason": b"undecodable",
        "dlq_message": error.message.encode("utf-8", "replace"),
        "dlq_topic": b"image.requests",
        "dlq_partition": b"3",
        "dlq_offset": b"42",
        "dlq_time": b"2026-03-04T05:06:07.089Z",
        "dlq_receipt": b"none: why",
    }
    assert len(dict(made)["dlq_message"] or b"") < 1010


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00.000Z"),
        (datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), "1969-12-31T23:59:59.999Z"),
    ],
)
def test_times_have_milliseconds_and_end_in_z(time: datetime, text: str) -> None:
    assert headers.rfc3339(time) == text


def test_a_first_generation_has_todays_headers_and_a_later_one_says_which_it_is() -> None:
    first = headers.cloud_event(event_id=EVENT, event_type="R", source="s", time=TIME)
    assert headers.cloud_event(event_id=EVENT, event_type="R", source="s", time=TIME, generation=2) == [*first, ("ce_generation", b"2")]


@given(
    original=st.lists(
        st.tuples(st.sampled_from(["a", "dlq_reason", "dlq_time", "dlq_redrives", "dlq_redrive_id"]), st.none() | st.binary())
    ),
    rounds=st.integers(1, 4),
)
def test_a_record_that_goes_round_keeps_its_senders_headers_and_is_counted(original: headers.Headers, rounds: int) -> None:
    assume(headers.buried(original) is None)
    before = 0 if headers._redrives(original) is None else headers._redrives(original)
    assert before is not None
    sent, error, kept = list(original), Rejected(Reason.INVALID, "wrong"), list(original)
    for number in range(rounds):
        dead = headers.buried(headers.dead_letter(sent, error, topic="t", partition=3, offset=number, time=TIME))
        assert dead is not None
        assert (dead.reason, dead.message, dead.topic, dead.partition, dead.offset) == ("invalid", "wrong", "t", 3, number)
        assert dead.redrives == before + number
        sent = headers.redriven(dead, EVENT)
        assert headers.redrive_id(sent) == EVENT
        kept = dead.original
        assert sent[:-2] == kept
    assert kept == (original if before == 0 and headers._redrives(original) is None else original[:-2])


@pytest.mark.parametrize(
    "sent",
    [
        [],
        [("dlq_reason", b"invalid")],
        headers.dead_letter([], Rejected(Reason.INVALID, ""), topic="t", partition=1, offset=2, time=TIME)[:-1],
        [*headers.dead_letter([], Rejected(Reason.INVALID, ""), topic="t", partition=1, offset=2, time=TIME)[:-1], ("dlq_time", b"soon")],
        [*headers.dead_letter([], Rejected(Reason.INVALID, ""), topic="t", partition=1, offset=2, time=TIME), ("after", b"")],
    ],
)
def test_what_is_no_dead_letter_is_not_taken_for_one(sent: headers.Headers) -> None:
    assert headers.buried(sent) is None
    assert headers.redrive_id(sent) is None
