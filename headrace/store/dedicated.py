"""One database connection of one's own, kept open over many small transactions and opened again after an error.

The work is a function on SQLAlchemy's `Connection`. On PostgreSQL it runs on the loop, through asyncpg. On SQLite it runs as a whole in a
thread: aiosqlite crosses to its thread and back four times a statement, which costs several times what the statements do.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from sqlalchemy import Connection, NullPool
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from headrace.store.engine import blocking

T = TypeVar("T")

# Not HEADRACE_DATABASE_STATEMENT_SECONDS: these statements find rows by their keys and take milliseconds, all records wait behind one
# transaction, and who uses it tries again for ever. A lock or a server that is gone is to be noticed, and told, within seconds.
_STATEMENT_SECONDS = 2.0
_WORK_SECONDS = 8.0  # when the server itself does not answer; its own time-out above comes first otherwise


class Dedicated(Protocol):
    """For one caller at a time. What `run` raises has rolled its transaction back and dropped the connection."""

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Raises what `work` raises, and `OSError` or `TimeoutError`. Work that is cut short on SQLite still ends in its thread."""
        ...

    async def close(self) -> None: ...


def dedicated(engine: AsyncEngine) -> Dedicated:
    """Opens nothing yet."""
    return _InThread(engine) if engine.dialect.name == "sqlite" else _OnLoop(engine)


class _InThread:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = blocking(engine, poolclass=NullPool)
        self._thread = ThreadPoolExecutor(1, "dedicated")
        self._connection: Connection | None = None

    async def run(self, work: Callable[[Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, work)

    async def close(self) -> None:
        try:
            # Whoever stops waiting for it has it closed all the same, when the statement in the thread has ended.
            await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, self._drop))
        finally:
            self._thread.shutdown(wait=False)

    def _run(self, work: Callable[[Connection], T]) -> T:
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
                # Less than the engine's own: the thread cannot be interrupted while it waits for the lock.
                self._connection.exec_driver_sql(f"PRAGMA busy_timeout={_STATEMENT_SECONDS * 1000:.0f}")
            return work(self._connection)
        except BaseException:
            self._drop()
            raise

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(SQLAlchemyError):
                connection.close()


class _OnLoop:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._connection: AsyncConnection | None = None

    async def run(self, work: Callable[[Connection], T]) -> T:
        try:
            async with asyncio.timeout(_WORK_SECONDS):
                if self._connection is None:
                    self._connection = await self._engine.connect()
                    await self._connection.execution_options(isolation_level="READ COMMITTED")
                    await self._connection.exec_driver_sql(f"SET statement_timeout = {_STATEMENT_SECONDS * 1000:.0f}")
                    await self._connection.commit()
                return await self._connection.run_sync(work)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(SQLAlchemyError, OSError):
                await connection.invalidate()  # not back into the pool: it has settings of its own, or is broken
            with contextlib.suppress(SQLAlchemyError, OSError):
                await connection.close()
