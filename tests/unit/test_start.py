"""What Temporal's answers mean for a record."""

from __future__ import annotations

import pytest
from temporalio.service import RPCStatusCode

from ingress.errors import Busy, NotSetUp, sort
from ingress.start import fairness_key
from schemas.errors import Reason, Rejected, Transient

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
