"""The database: SQLite (WAL) in the embedded stack, PostgreSQL elsewhere."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, Pool, create_engine, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine


def engine(url: str) -> AsyncEngine:
    """An engine for `sqlite+aiosqlite:///FILE` or `postgresql+asyncpg://...`. Opens nothing yet."""
    # hide_parameters: an error's text goes into logs and payloads, and the rows hold prompts.
    made = create_async_engine(url, pool_pre_ping=not url.startswith("sqlite"), hide_parameters=True)
    if url.startswith("sqlite"):
        event.listen(made.sync_engine, "connect", _pragmas)
    return made


def blocking(of: AsyncEngine, *, poolclass: type[Pool]) -> Engine:
    """An engine on the SQLite file of `of` for a thread, without asyncio. Opens nothing yet."""
    made = create_engine(of.url.set(drivername="sqlite"), poolclass=poolclass, hide_parameters=True)
    event.listen(made, "connect", _pragmas)
    return made


def _pragmas(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    # Several processes share the file: readers must not block the writer, and a writer waits its turn.
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA busy_timeout=10000")
    cursor.close()
