"""What one domain's workers run, in Headrace's own registry or in a team's module."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from headrace.settings import Settings

Activities = Sequence[Callable[..., Any]]


@dataclass(frozen=True, slots=True)
class Domain:
    """Workflows by task queue; each of the queues gets all of the activities."""

    queues: Mapping[str, Sequence[type]]
    activities: Callable[[Settings], AbstractAsyncContextManager[Activities]]
    """Opens the clients that the activities need, for as long as they run."""
    max_activities: Callable[[Settings], int] = lambda _: 32
    """How many of them run at one time on each queue; the others wait in the queue, where no time-out runs."""
    tables: bool = False
    """Whether they use Headrace's tables: its workers begin when those are there."""
