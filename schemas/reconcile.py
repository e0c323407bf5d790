"""Argument and result of the workflow `ReconcileCompletions`, which completes the events whose runs could not do so themselves."""

from pydantic import Field

from schemas.request import Model


class Reconcile(Model):
    """How to look. Its schedule gives the defaults."""

    grace_seconds: float = Field(60.0, ge=0)
    """An event is left alone for so long after it was accepted, and a run after it has ended: its own completion may be on its way."""
    believe_gone: bool = False
    """Whether to publish also when Temporal knows hardly any of the runs that it is asked for. That looks like another server or an empty
    one, and is left to people: start the workflow by hand with this when their histories are really lost."""


class Noted(Model):
    """What the ledger has brought."""

    read: int = 0
    """Rows."""
    noted: int = 0
    """Events without a completion among them."""


class Reconciled(Model):
    """What came of the events that were due."""

    checked: int = 0
    completed: dict[str, int] = Field(default_factory=dict)
    """Completions published on behalf of runs, by status."""
    delivered: int = 0
    """Completions that had been decided, and were not known to be published."""
    still_open: int = 0
    missing: int = 0
    """Runs that Temporal did not know for the first time: they are asked for once more before that is believed."""
    withheld: int = 0
    """Runs that Temporal does not know, too many at one time to be believed."""
    unannounceable: int = 0
    """Events for whose record no completion record exists; they are not looked at again."""
    calls: int = 0
    """To Temporal."""
    more: bool = False
    """Whether the time ran out before the work."""


class ReconcileReport(Model):
    """Result of the workflow."""

    noted: Noted
    reconciled: Reconciled
