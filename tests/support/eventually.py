"""Waiting without sleeping blindly."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(check: Callable[[], Awaitable[T]], timeout: float = ..., interval: float = ...) -> T: ...  # noqa: ASYNC109


@overload
async def eventually(check: Callable[[], T], timeout: float = ..., interval: float = ...) -> T: ...  # noqa: ASYNC109


async def eventually(check: Callable[[], object], timeout: float = 10.0, interval: float = 0.05) -> object:  # noqa: ASYNC109
    """The first truthy answer of `check`, which may be a coroutine function; fails after `timeout` seconds with the last answer."""
    deadline = time.monotonic() + timeout
    while True:
        answer = check()
        value = await answer if inspect.isawaitable(answer) else answer
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {timeout} s: last answer {value!r}"
        await asyncio.sleep(interval)
