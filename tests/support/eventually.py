"""Waiting without sleeping blindly."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def eventually(check: Callable[[], T | Awaitable[T]], timeout: float = 10.0, interval: float = 0.05) -> T:  # noqa: ASYNC109
    """The first truthy answer of `check`; fails after `timeout` seconds with the last answer it gave."""
    deadline = time.monotonic() + timeout
    while True:
        answer = check()
        value: T = await answer if inspect.isawaitable(answer) else answer
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {timeout} s: last answer {value!r}"
        await asyncio.sleep(interval)
