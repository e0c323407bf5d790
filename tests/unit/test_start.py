"""What Temporal's answers mean for a record."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from temporalio.service import RPCStatusCode

from ingress.errors import Busy, NotSetUp, sort
from ingress.start import Sizes, check_size, fairness_key
from schemas.errors import Reason, Rejected, Transient
from schemas.request import Accepted, OpenRequest

PASSING = [status for status in RPCStatusCode if status.name not in ("INVALID_ARGUMENT", "NOT_FOUND", "OK")]


@pytest.mark.parametrize("status", PASSING, ids=lambda status: status.name)
def test_what_passes_never_becomes_a_dead_letter(status: RPCStatusCode) -> None:
    assert isinstance(sort(status, "words"), Transient)


def test_an_invalid_argument_is_the_events_own_fault() -> None:
    error = sort(RPCStatusCode.INVALID_ARGUMENT, "WorkflowId length exceeds limit.")
    assert isinstance(error, Rejected)
    assert (error.reason, error.message) == (Reason.REJECTED_BY_TEMPORAL, "WorkflowId length exceeds limit.")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (RPCStatusCode.INVALID_ARGUMENT, "Blob data size exceeds limit."),
        (RPCStatusCode.RESOURCE_EXHAUSTED, "grpc: received message larger than max (6291509 vs. 4194304)"),
    ],
)
def test_what_is_too_large_never_fits_however_often_it_is_sent(status: RPCStatusCode, words: str) -> None:
    error = sort(status, words)
    assert isinstance(error, Rejected)
    assert (error.reason, error.message) == (Reason.TOO_LARGE, words)


@pytest.mark.parametrize("status", [RPCStatusCode.RESOURCE_EXHAUSTED, RPCStatusCode.DEADLINE_EXCEEDED])
def test_a_busy_server_gets_fewer_calls(status: RPCStatusCode) -> None:
    assert isinstance(sort(status, "namespace rate limit exceeded"), Busy)


def test_a_missing_search_attribute_is_not_an_events_fault() -> None:
    error = sort(RPCStatusCode.INVALID_ARGUMENT, "Namespace default has no mapping defined for search attribute EventId")
    assert isinstance(error, NotSetUp)
    assert "headrace setup" in str(error)


def test_a_missing_namespace_is_not_an_events_fault() -> None:
    assert isinstance(sort(RPCStatusCode.NOT_FOUND, "Namespace nowhere is not found."), NotSetUp)


def test_a_long_message_is_bounded() -> None:
    error = sort(RPCStatusCode.INVALID_ARGUMENT, "x" * 100_000)
    assert isinstance(error, Rejected)
    assert len(error.message) <= 1000


@pytest.mark.parametrize("user_id", ["u", "x" * 64, "x" * 65, "ü" * 33, "x" * 128])
def test_a_fairness_key_fits_into_64_bytes(user_id: str) -> None:
    assert 0 < len(fairness_key(user_id).encode()) <= 64


def test_two_long_users_do_not_share_a_fairness_key() -> None:
    assert fairness_key("x" * 100) != fairness_key("x" * 101)


def accepted(text: str) -> Accepted[Any]:
    request = OpenRequest.model_validate({"event_id": uuid4(), "user_id": "u", "requested_at": datetime.now(UTC), "text": text})
    return Accepted[Any](request=request, origin=None)


@pytest.mark.parametrize(
    ("text", "sizes", "says"),
    [
        ("x" * 3000, Sizes(2000, None), "HEADRACE_PAYLOAD_S3_BYTES"),
        ("\N{WATER WAVE}" * 700, Sizes(2000, None), "HEADRACE_PAYLOAD_S3_BYTES"),  # characters are not bytes
        ("x" * 3000, Sizes(2000, 100_000), "HEADRACE_PAYLOAD_S3_BYTES"),  # too small for S3, too large for Temporal
        ("\x01" * 9_000_000, Sizes(2000, 100_000), "52428800 are taken"),  # six bytes each
    ],
)
def test_what_temporal_does_not_take_is_refused_before_it_is_asked(text: str, sizes: Sizes, says: str) -> None:
    with pytest.raises(Rejected, match=says) as raised:
        check_size(accepted(text), sizes)
    assert raised.value.reason is Reason.TOO_LARGE


def test_what_lies_in_s3_may_be_larger_than_temporal_takes() -> None:
    assert check_size(accepted("x" * 100), Sizes(2000, None)) == 0
    assert check_size(accepted("x" * 20_000_000), Sizes(2000, 1024)) > 20_000_000
