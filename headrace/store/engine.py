"""The database: SQLite (WAL) in the embedded stack, PostgreSQL elsewhere."""

from __future__ import annotations

from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine


def engine(url: str) -> AsyncEngine:
    """An engine for `sqlite+aiosqlite:///FILE` or `postgresql+asyncpg://...`. Opens nothing yet."""
    # hide_parameters: an error's text goes into logs and payloads, and the rows hold prompts.
    made = create_async_engine(url, pool_pre_ping=not url.startswith("sqlite"), hide_parameters=True)
    if url.startswith("sqlite"):
        event.listen(made.sync_engine, "connect", _pragmas)
    return made


def _pragmas(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    # Several processes share the file: readers must not block the writer, and a writer waits its turn.
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA busy_timeout=10000")
    cursor.close()
