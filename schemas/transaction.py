"""The transaction domain's records."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from schemas.completion import Completion
from schemas.request import Model, Request

MAX_CREDITS = 1_000_000_000
"""Of one transaction and of one grant: far above what anybody spends, far below what sums would need to overflow 64 bits."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _printable(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("the text has control characters: it is one line of a statement")
    return text


def _not_blank(item: str) -> str:
    if not item.strip():
        raise ValueError("the item is blank: say what is bought")
    return item


Amount = Annotated[int, Field(ge=1, le=MAX_CREDITS)]
Item = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_printable), AfterValidator(_not_blank)]
Reference = Annotated[str, StringConstraints(max_length=128), AfterValidator(_printable)]


class TransactionRequested(Request):
    amount: Amount
    item: Item
    reference: Reference = ""
    """The sender's own name for this purchase; a user's purchases have different ones, unless it is empty."""


class CompensationOutcome(Model):
    """What became of one step of a transaction that did not succeed."""

    step: str
    compensation: str
    outcome: str
    """`compensated`; `nothing_to_undo`: the step had had no effect, and can have none any more; `failed`."""
    error_code: str | None = None
    error_message: str | None = None


class TransactionResult(Model):
    """What was bought; for a transaction that did not succeed, what was taken back, in that order."""

    transaction_id: str
    amount: int
    item: str
    reference: str
    balance_after: int | None = None
    compensations: list[CompensationOutcome] = Field(default_factory=list)


TransactionCompleted = Completion[TransactionResult]
