"""When `headrace completions --event-id ... --follow` has seen all that is to come."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from headrace.cli.completions import _is_the_end
from headrace.completions import Received
from schemas.ids import completion_id, rejection_id

EVENT = uuid4()


def received(own: bool, status: str, code: str | None) -> Received:
    identity = completion_id(EVENT) if own else rejection_id(EVENT, "0" * 64)
    completion: dict[str, Any] = {"completion_id": identity, "event_id": EVENT, "status": status, "error": code and {"code": code}}
    return Received("image.completions", 0, 0, None, [], "headrace.image.ImageGenerationCompleted", completion)


@pytest.mark.parametrize(
    ("own", "status", "code", "ends"),
    [
        (True, "SUCCEEDED", None, True),
        (True, "TERMINATED", "Terminated", True),
        (False, "REJECTED", "invalid", True),
        (False, "REJECTED", "id_conflict", False),
    ],
)
def test_the_receipt_of_a_conflict_is_not_taken_for_the_end_of_the_first_event(
    own: bool, status: str, code: str | None, ends: bool
) -> None:
    assert _is_the_end(received(own, status, code)) is ends
