"""The tables' revision: which one a database has, and how it comes to the newest."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

_MIGRATIONS = Path(__file__).parent / "migrations"

_LOCK = 0x68656164  # "head": any number that nobody else in this database locks


async def upgrade(engine: AsyncEngine) -> None:
    """Brings the tables to the newest revision; does nothing when they are there. Any number of processes may do so at once.

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


def _upgrade(connection: Connection) -> None:
    # One process at a time, for the length of the transaction; the others then find nothing left to do.
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config
