"""What a request for a transaction may say."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from tests.support.transaction_runs import purchase_of


@pytest.mark.parametrize(
    "changed",
    [
        {"amount": 0},
        {"amount": -5},
        {"amount": 10**9 + 1},
        {"amount": 2**63},
        {"amount": 1.5},
        {"item": ""},
        {"item": "   "},
        {"item": "x" * 201},
        {"item": "a\nb"},
        {"item": "a\x00b"},
        {"reference": "r" * 129},
        {"reference": "a\tb"},
        {"user_id": ""},
    ],
    ids=str,
)
def test_a_value_that_can_never_be_bought_is_refused_before_a_run_starts(changed: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        purchase_of(**{"user_id": "ada", **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changed", [{"amount": 1}, {"amount": 10**9}, {"item": "x" * 200}, {"reference": "r" * 128}, {"reference": ""}], ids=str
)
def test_a_value_at_a_limit_is_taken(changed: dict[str, object]) -> None:
    assert purchase_of("ada", **changed).user_id == "ada"
