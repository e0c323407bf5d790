"""The database: SQLite (WAL) in the embedded stack, PostgreSQL elsewhere."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from sqlalchemy import URL, Engine, Pool, create_engine, event, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from headrace.settings import Settings, SettingsError

_POOL_SIZE, _STATEMENT_SECONDS = 10, 10.0
_CONNECT_SECONDS = 10.0
"""To PostgreSQL. The driver's own is a minute, longer than anybody waits for it here."""
_IDLE_SECONDS = 60
"""No transaction here waits for anything but SQL: one that stands still is of a process that is frozen, or whose machine is gone."""
_LIBPQ_NAMES = {"sslmode": "ssl=verify-full", "sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY"}


def engine_of(settings: Settings, service: str | None = None, *, long_statements: bool = False) -> AsyncEngine:
    """The engine for `HEADRACE_DATABASE_URL`. Opens nothing yet. Raises `SettingsError` when the URL cannot be used.

    `service` tells in `pg_stat_activity` whose a connection is: `headrace-<service>`, and `headrace` for a command. With
    `long_statements` PostgreSQL cuts none off: for whoever has a bound of its own that ends them.
    """
    refused = "HEADRACE_DATABASE_URL cannot be used, it is sqlite+aiosqlite:///FILE or postgresql+asyncpg://USER:PASSWORD@HOST/NAME"
    try:
        _look_at(make_url(settings.database_url))
        return engine(
            settings.database_url,
            application=f"headrace-{service}" if service else "headrace",
            pool_size=settings.database_pool_size,
            statement_seconds=settings.database_statement_seconds,
            long_statements=long_statements,
        )
    except ValueError:  # its text quotes what stands for the port, and that may be a part of the password
        raise SettingsError(f"{refused}: the port is a number, and an @ in the password is written %40") from None
    except (SQLAlchemyError, ModuleNotFoundError) as error:
        raise SettingsError(f"{refused}: {error}") from None


def engine(
    url: str,
    *,
    application: str = "headrace",
    pool_size: int = _POOL_SIZE,
    statement_seconds: float = _STATEMENT_SECONDS,
    long_statements: bool = False,
) -> AsyncEngine:
    """The same for a URL of one's own. Raises what SQLAlchemy raises for one that it cannot use."""
    # hide_parameters: an error's text goes into logs and payloads, and the rows hold prompts.
    common: dict[str, Any] = {"pool_size": pool_size, "max_overflow": 0, "hide_parameters": True}
    if url.startswith("sqlite"):
        made = create_async_engine(url, **common)
        event.listen(made.sync_engine, "connect", _pragmas(statement_seconds))
        return made
    session = {
        "application_name": application,
        "statement_timeout": "0" if long_statements else f"{statement_seconds * 1000:.0f}",
        "idle_in_transaction_session_timeout": f"{_IDLE_SECONDS}s",
    }
    return create_async_engine(url, pool_pre_ping=True, connect_args={"server_settings": session, "timeout": _CONNECT_SECONDS}, **common)


def blocking(of: AsyncEngine, *, poolclass: type[Pool]) -> Engine:
    """An engine on the SQLite file of `of` for a thread, without asyncio. Opens nothing yet."""
    made = create_engine(of.url.set(drivername="sqlite"), poolclass=poolclass, hide_parameters=True)
    event.listen(made, "connect", _pragmas(_STATEMENT_SECONDS))
    return made


def _pragmas(lock_seconds: float) -> Callable[[Any, Any], None]:
    def on_connect(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        # Several processes share the file: readers must not block the writer, and a writer waits its turn.
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute(f"PRAGMA busy_timeout={lock_seconds * 1000:.0f}")
        cursor.close()

    return on_connect


def _look_at(url: URL) -> None:
    """Raises `SettingsError` for what would be found out at the first connection only, and said badly, or with a part of the password."""
    if url.get_backend_name() != "postgresql":
        return
    if "@" in (url.host or ""):
        raise SettingsError("HEADRACE_DATABASE_URL has an @ in its password: it is written %40 there")
    import asyncpg

    known = {*inspect.signature(asyncpg.connect).parameters, "prepared_statement_cache_size"}
    if "password" in url.query:  # it would be shown with the rest of the address
        raise SettingsError("HEADRACE_DATABASE_URL: the password stands before the host, USER:PASSWORD@HOST")
    for name in url.query:
        if name in _LIBPQ_NAMES:
            raise SettingsError(f"HEADRACE_DATABASE_URL: {name} is libpq's word; the driver here, asyncpg, takes {_LIBPQ_NAMES[name]}")
        if name not in known:
            raise SettingsError(f"HEADRACE_DATABASE_URL: asyncpg, the driver, knows no parameter {name}")
