"""While a part is away one record asks on behalf of all.

Without it a thousand waiting records would each try Temporal every few seconds, and after the outage each would sleep its own back-off out.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from ingress.errors import StorageAway
from schemas.errors import Rejected, Transient

log = structlog.get_logger(__name__)

T = TypeVar("T")

_CLOSES_AFTER = 8
"""Failures in a row, of any records: fewer may be one record's own."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0


class Gate:
    """Open while the part answers. Closed, it lets one at a time through, after growing pauses with jitter."""

    def __init__(self, part: str, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._part = part
        self._sleep = sleep
        self._failures = 0
        self._pause = _FIRST_PAUSE
        self._closed: asyncio.Event | None = None
        """None while it is open; set when those who wait may look again."""
        self._asking = False

    @property
    def is_open(self) -> bool:
        return self._closed is None

    async def through(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """The answer to `attempt`, made when the part may be asked. Raises what it raises; only `Transient` means that the part is away."""
        asks = await self._enter()
        try:
            answer = await attempt()
        except StorageAway:
            if asks:
                self._let_another_ask()
            raise
        except Transient as error:
            self._failed(error, asks)
            raise
        except Rejected:
            self._answered()
            raise
        except BaseException:
            if asks:
                self._let_another_ask()
            raise
        self._answered()
        return answer

    async def _enter(self) -> bool:
        """Whether it asks on behalf of all."""
        while self._closed is not None:
            if self._asking:
                await self._closed.wait()
                continue
            self._asking = True
            try:
                # Jitter: the processes of a group must not come back together.
                await self._sleep(random.uniform(self._pause / 2, self._pause))  # noqa: S311 - not a secret
            except BaseException:
                self._let_another_ask()
                raise
            return True
        return False

    def _answered(self) -> None:
        self._failures = 0
        if self._closed is not None:
            log.info("part_is_back", part=self._part)
            self._closed.set()
            self._closed, self._asking, self._pause = None, False, _FIRST_PAUSE

    def _failed(self, error: Transient, asks: bool) -> None:
        self._failures += 1
        if asks:
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            self._let_another_ask()
        elif self._closed is None and self._failures >= _CLOSES_AFTER:
            log.warning("part_is_away", part=self._part, error=str(error))
            self._closed = asyncio.Event()

    def _let_another_ask(self) -> None:
        self._asking = False
        if self._closed is not None:
            self._closed.set()
            self._closed = asyncio.Event()
