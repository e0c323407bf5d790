"""What the transaction activities take and give. New fields get defaults: runs in flight hold the old ones."""

from typing import Literal

from schemas.request import Model

Step = Literal["reserve_resources", "process_request", "commit_transaction"]
"""By the names of their activities: rows in the books rest on them."""


class Purchase(Model):
    """What a step is told. `transaction_id` is `schemas.ids.transaction_id`: with the step's name it makes a repetition harmless."""

    transaction_id: str
    user_id: str
    amount: int
    item: str
    reference: str = ""


class Reserved(Model):
    available: int
    """The user's credits that are on hold for nothing, after this hold."""


class Processed(Model):
    left: int | None
    """How many of the item are left; None for one of which there are any number."""


class Committed(Model):
    balance_after: int


class Compensate(Model):
    """What a compensation is told: what there is to undo is in the books, not in anybody's memory of it."""

    transaction_id: str


class Compensated(Model):
    had_effect: bool
    """False: the step had done nothing, and can do nothing any more. A compensation that is repeated says the same again."""
