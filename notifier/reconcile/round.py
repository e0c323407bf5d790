"""One round of the reconciler: what it was asked, what it has counted, and how what it meets is sorted."""

from __future__ import annotations

import asyncio
import time
from collections import Counter as Tally
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from aiokafka.errors import KafkaError
from sqlalchemy.exc import SQLAlchemyError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from notifier.producer import database_error
from notifier.reconcile.events import Key, OpenEvent
from notifier.reconcile.requests import Requests
from notifier.reconcile.runs import Runs
from schemas.errors import FailureType, Transient, bounded
from schemas.reconcile import Reconcile

LONGEST_PAUSE = timedelta(hours=1)
"""Between two looks at an event whose run goes on."""

_AT_ONCE = 16

T = TypeVar("T")


@dataclass
class Round:
    """One look at what is due."""

    asked: Reconcile
    runs: Runs
    requests: Requests
    until: float
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    tally: Tally[str] = field(default_factory=Tally)
    completed: Tally[str] = field(default_factory=Tally)

    @property
    def grace(self) -> timedelta:
        return timedelta(seconds=self.asked.grace_seconds)

    @property
    def soon(self) -> datetime:
        return now() + max(self.grace, timedelta(seconds=1))

    def out_of_time(self) -> bool:
        return time.monotonic() > self.until


@dataclass
class Looked:
    """What a page of due events came to, written down together."""

    done: list[Key] = field(default_factory=list)
    open: dict[Key, datetime] = field(default_factory=dict)
    missing: dict[Key, datetime] = field(default_factory=dict)
    gone: list[OpenEvent] = field(default_factory=list)


def now() -> datetime:
    return datetime.now(UTC)


def later(event: OpenEvent, this: Round) -> datetime:
    """An old run is looked at more seldom: most that are ended from outside are found otherwise."""
    moment = now()
    return moment + min(max((moment - event.claimed_at) / 2, this.grace, timedelta(seconds=1)), LONGEST_PAUSE)


async def at_once(events: list[OpenEvent], look: Callable[[OpenEvent], Awaitable[None]]) -> None:
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(event: OpenEvent) -> None:
        async with room:
            await look(event)

    async with asyncio.TaskGroup() as group:
        for event in events:
            group.create_task(one(event))


async def in_words_of_temporal(work: Awaitable[T]) -> T:
    """Errors without statements, values or traces of groups. What a part that is away raises passes, so the step is simply tried again."""
    try:
        return await work
    except Exception as raised:  # noqa: BLE001 - a task group may hold any of them
        error: BaseException = raised
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, SQLAlchemyError | OSError):
            raise database_error(error) from error
        if isinstance(error, RPCError | KafkaError | Transient):
            raise ApplicationError(bounded(f"{type(error).__name__}: {error}", 300), type=FailureType.INTERNAL.value) from error
        raise error from None
