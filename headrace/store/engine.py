"""The database: SQLite (WAL) in the embedded stack, PostgreSQL elsewhere."""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, Engine, Pool, create_engine, event, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from headrace.settings import SettingsError

_SHOWN = ("host", "port", "ssl")
"""Of what stands behind the question mark of a URL; a password may stand there too."""


def engine(url: str) -> AsyncEngine:
    """An engine for `sqlite+aiosqlite:///FILE` or `postgresql+asyncpg://...`. Opens nothing yet. Raises `SettingsError`."""
    try:
        # hide_parameters: an error's text goes into logs and payloads, and the rows hold prompts.
        made = create_async_engine(url, pool_pre_ping=not url.startswith("sqlite"), hide_parameters=True)
    except (SQLAlchemyError, ModuleNotFoundError, ValueError) as error:
        # Without its words, and without itself: they repeat a part of the URL.
        raise SettingsError(
            f"HEADRACE_DATABASE_URL cannot be used ({type(error).__name__}): sqlite+aiosqlite:///FILE or postgresql+asyncpg://..., with"
            " the characters of a password that mean something in a URL written as %40, %2F, ..."
        ) from None
    if url.startswith("sqlite"):
        event.listen(made.sync_engine, "connect", _pragmas)
    return made


def shown(url: str | URL) -> str:
    """The URL for people: without its password, wherever that stands."""
    try:
        parsed = make_url(url)
    except (SQLAlchemyError, ValueError):
        return "an address that cannot be read"
    return parsed.set(query={name: value for name, value in parsed.query.items() if name in _SHOWN}).render_as_string(hide_password=True)


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
