"""Sending again: dead letters (`RedriveWorkflow`) and events whose run failed (`RerunFailedWorkflow`)."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Self
from uuid import UUID

from pydantic import AwareDatetime, ConfigDict, Field

from schemas.errors import MAX_REDRIVES
from schemas.request import Model


class Range(Model):
    """Records of one partition, from `start` up to and without `end`."""

    topic: str
    partition: int
    start: int
    end: int


class State(StrEnum):
    """What became of a dead letter."""

    OPEN = "open"
    """Nothing yet; it has no row."""
    SENDING = "sending"
    """A redrive is about to send it, or died while it did."""
    REDRIVEN = "redriven"
    PARKED = "parked"
    """It stays where it is: it was sent again too often, or cannot be sent."""


class Selection(Model):
    """Which dead letters; an empty filter takes all.

    Closed: an older notifier that read past a filter would send more than was asked for. It refuses, and Temporal asks again until a newer
    one is there.
    """

    model_config = ConfigDict(extra="forbid")

    reasons: frozenset[str] = frozenset()
    event_ids: frozenset[UUID] = frozenset()
    key: bytes | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None

    def takes(self, *, reason: str | None, event_id: UUID | None, key: bytes | None, time: datetime | None) -> bool:
        return (
            (not self.reasons or reason in self.reasons)
            and (not self.event_ids or event_id in self.event_ids)
            and (self.key is None or key == self.key)
            and (self.since is None or (time is not None and time >= self.since))
            and (self.until is None or (time is not None and time < self.until))
        )


class Tally(Model):
    """How many dead letters a redrive has looked at, and what it did with them."""

    done: int = 0
    """Looked at."""
    sent: int = 0
    skipped: int = 0
    """Not selected, or in another redrive's hands, or sent again before."""
    parked: int = 0

    def plus(self, other: Tally) -> Self:
        return type(self)(**{name: value + getattr(other, name) for name, value in self})


class Redrive(Model):
    """Argument of `RedriveWorkflow`. The ranges are fixed when it is asked for: what is dead-lettered meanwhile is not in it."""

    redrive_id: UUID
    ranges: tuple[Range, ...]
    selection: Selection = Selection()
    parked: bool = False
    """Takes those that are parked, and no others."""
    max_redrives: int = Field(MAX_REDRIVES, ge=1)
    rate: float | None = Field(None, gt=0)
    """Records in a second at the most."""
    tally: Tally = Tally()
    """Of the runs before this one: a long redrive continues as a new run."""
    began_at: AwareDatetime | None = None
    pages_a_run: int = Field(200, ge=1)

    @property
    def left(self) -> int:
        return sum(range_.end - range_.start for range_ in self.ranges)


class Progress(Model):
    """Answer of the query `progress`, and the result of `RedriveWorkflow`."""

    done: int
    total: int
    """Offsets of the ranges: compaction and transactions leave gaps, which count as done."""
    sent: int
    skipped: int
    parked: int
    rate: float
    """Records sent in a second, since it began."""


class Page(Model):
    """Argument of the activity `redrive_dead_letters`: it goes on for some seconds, or up to the end."""

    redrive_id: UUID
    range: Range
    selection: Selection
    parked: bool
    max_redrives: int
    rate: float | None


class PageDone(Model):
    """Result of the activity."""

    next: int
    """The offset to go on from."""
    tally: Tally


class RunSelection(Model):
    """Which failed runs; an empty filter takes all. Closed, as `Selection` is."""

    model_config = ConfigDict(extra="forbid")

    records: tuple[str, ...]
    """Of these requests, by the full names of their records."""
    event_ids: frozenset[UUID] = frozenset()
    codes: frozenset[str] = frozenset()
    """The completion's `error.code`; `Terminated` and `TimedOut` for runs that Temporal has ended."""
    since: AwareDatetime | None = None
    """They ended at or after."""
    until: AwareDatetime
    """They ended before: runs that fail meanwhile are not in it, so that it ends."""


class RerunTally(Model):
    """What was done with failed runs."""

    found: int = 0
    started: int = 0
    superseded: int = 0
    """Another run of the same event has been started since."""
    other_code: int = 0
    """It failed with a code that was not asked for."""
    not_told: int = 0
    """Its own completion is not published yet: the reconciler tells its end first."""
    not_ours: int = 0
    """No event of Kafka asked for it, or its history is gone."""
    codes: dict[str, int] = Field(default_factory=dict)
    """Of those started, by their code."""

    def plus(self, other: RerunTally) -> Self:
        counted = {name: value + getattr(other, name) for name, value in self if name != "codes"}
        codes = {code: self.codes.get(code, 0) + other.codes.get(code, 0) for code in {**self.codes, **other.codes}}
        return type(self)(**counted, codes=codes)


class Rerun(Model):
    """Argument of `RerunFailedWorkflow`, and, with the token of the next page, of its activity `rerun_failed_runs`."""

    rerun_id: UUID
    selection: RunSelection
    rate: float | None = Field(None, gt=0)
    dry_run: bool = False
    token: bytes | None = None
    tally: RerunTally = RerunTally()
    pages_a_run: int = Field(200, ge=1)


class RerunPageDone(Model):
    """Result of the activity."""

    token: bytes | None
    """None: it was the last page."""
    tally: RerunTally
