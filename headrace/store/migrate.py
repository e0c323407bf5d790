"""The tables' revision: which one a database has, and how it comes to the newest."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from headrace.store.away import why
from headrace.store.engine import shown

log = structlog.get_logger(__name__)

_MIGRATIONS = Path(__file__).parent / "migrations"

_LOCK = 0x68656164  # "head": any number that nobody else in this database locks


Standing = Literal["missing", "older", "same", "newer", "foreign"]
"""The tables of a database beside those that this version of Headrace has migrations for."""

_LOCK_MS = 60_000


async def upgrade(engine: AsyncEngine) -> None:
    """Brings the tables to the newest revision; does nothing when they are there. Any number of processes may do so at once.

    Tables of a newer Headrace are left as they are: what the release before it does goes on working with them (docs/operating.md).
    Raises `OSError` or `sqlalchemy.exc.DBAPIError` when the database cannot be reached.
    """
    if engine.dialect.name == "sqlite" and engine.url.database:
        Path(engine.url.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    async with engine.begin() as connection:
        await connection.run_sync(_upgrade)


async def current(engine: AsyncEngine) -> str | None:
    """The revision that the database has, None for one without tables. Raises as `upgrade` does."""
    file = engine.url.database
    if engine.dialect.name == "sqlite" and file and not Path(file).exists():  # noqa: ASYNC240 - one stat
        return None  # connecting would create it
    async with engine.connect() as connection:
        return await connection.run_sync(lambda sync: MigrationContext.configure(sync).get_current_revision())


@cache
def newest() -> str:
    """The revision that this version of Headrace needs."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    assert revision is not None  # noqa: S101 - the folder ships with at least one
    return revision


def standing(revision: str | None) -> Standing:
    """How a database's revision stands to this version's."""
    if revision is None:
        return "missing"
    if revision == newest():
        return "same"
    if revision in _known():
        return "older"
    return "newer" if revision.isdecimal() and revision > newest() else "foreign"


@cache
def _known() -> frozenset[str]:
    return frozenset(each.revision for each in ScriptDirectory.from_config(_config()).walk_revisions())


async def usable(engine: AsyncEngine) -> None:
    """Returns when this version can work with the tables that are there. Else raises `OSError`, whose sentence says what to do."""
    url, own = shown(engine.url), newest()
    try:
        revision = await current(engine)
    except (SQLAlchemyError, OSError) as error:
        raise OSError(f"the database {url} (HEADRACE_DATABASE_URL): {why(error)}") from error
    match standing(revision):
        case "missing":
            raise OSError(f"the database {url} has no tables yet: run `headrace setup`")
        case "older":
            raise OSError(f"the database {url} has the tables of revision {revision}, and {own} is needed: run `headrace setup`")
        case "foreign":
            raise OSError(f"the database {url} has the tables of another program: look at HEADRACE_DATABASE_URL")
        case "newer":
            log.warning("newer_tables", revision=revision, own=own, hint="the tables of a newer Headrace: finish the upgrade")


def _upgrade(connection: Connection) -> None:
    # One process at a time, for the length of the transaction; the others then find nothing left to do.
    if connection.dialect.name == "postgresql":
        # Neither the wait for the others nor an index of a large table is to be cut off.
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
    else:
        connection.exec_driver_sql(f"PRAGMA busy_timeout={_LOCK_MS}")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    revision = MigrationContext.configure(connection).get_current_revision()
    found = standing(revision)
    if found == "foreign":
        raise OSError(f"its table alembic_version says {revision!r}, which is not Headrace's: give Headrace a database of its own")
    if found in ("same", "newer"):
        return
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config
