"""Answers of a server that never change: asked for once, by however many at one time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Answers(Generic[K, V]):
    """Answers kept for ever. A question that is under way is not asked again: whoever comes meanwhile gets the same answer or error."""

    def __init__(self) -> None:
        self._known: dict[K, V] = {}
        self._asked: dict[K, asyncio.Task[V]] = {}

    def put(self, key: K, value: V) -> None:
        self._known.setdefault(key, value)

    def known(self, key: K) -> V | None:
        return self._known.get(key)

    async def get(self, key: K, ask: Callable[[], Awaitable[V]]) -> V:
        if key in self._known:
            return self._known[key]
        task = self._asked.get(key)
        if task is None:
            task = self._asked[key] = asyncio.create_task(self._keep(key, ask))
            task.add_done_callback(_seen)
        # One who stops waiting does not stop the others.
        return await asyncio.shield(task)

    async def close(self) -> None:
        tasks = list(self._asked.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep(self, key: K, ask: Callable[[], Awaitable[V]]) -> V:
        try:
            value = self._known[key] = await ask()
            return value
        finally:
            del self._asked[key]


def _seen(task: asyncio.Task[Any]) -> None:
    """Marks an error as seen: everybody who waited for it may have been cancelled."""
    if not task.cancelled():
        task.exception()
