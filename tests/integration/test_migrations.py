"""The tables' way from every revision to the newest, on SQLite and on PostgreSQL, and beside processes of another release."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import CHAR, Column, Connection, MetaData, Table, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from structlog.testing import capture_logs

from headrace import checks, setup
from headrace.errors import SetupError
from headrace.settings import Settings
from headrace.store import migrate
from headrace.store.engine import engine
from headrace.store.tables import COMPLETIONS, HISTORY, METADATA, Instant
from tests.support.eventually import eventually

_REVISIONS = sorted(migrate._known())
_EARLIER = _REVISIONS[:-1]
_NEWER = "9999"


async def _bring_to(database: AsyncEngine, revision: str) -> None:
    def upgrade(connection: Connection) -> None:
        config = migrate._config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)

    async with database.begin() as connection:
        await connection.run_sync(upgrade)


async def _tables_of(database: AsyncEngine) -> list[Table]:
    """As they are there now."""
    found = MetaData()
    async with database.connect() as connection:
        await connection.run_sync(found.reflect)
    return [table for table in found.sorted_tables if table.name != "alembic_version"]


def _value(column: Column[Any], number: int) -> object:
    moment = isinstance(column.type, Instant) or getattr(column.type, "timezone", False)
    kind = datetime if moment else column.type.python_type
    if isinstance(column.type, CHAR):  # SQLite's form of a UUID
        return UUID(int=number).hex
    made: dict[type, object] = {
        str: f"{column.name} {number}",
        int: number,
        float: number / 8,
        bytes: bytes([number] * 32),
        UUID: UUID(int=number),
        date: date(2026, 1, 1) + timedelta(days=number),
        datetime: datetime(2026, 1, 1, 12, 30, tzinfo=UTC if moment else None) + timedelta(days=number),
    }
    return made[kind]


async def _write(database: AsyncEngine, tables: Sequence[Table], number: int, *, whole: bool) -> None:
    """A row in each, with all of its columns or with those alone that must be given."""
    async with database.begin() as connection:
        for table in tables:
            given = [column for column in table.columns if whole or not (column.nullable or column.server_default)]
            await connection.execute(table.insert().values({column.name: _value(column, number) for column in given}))


async def _read(database: AsyncEngine, tables: Sequence[Table]) -> dict[str, list[Any]]:
    async with database.connect() as connection:
        return {
            table.name: [tuple(row) for row in await connection.execute(select(table).order_by(*table.primary_key.columns))]
            for table in tables
        }


async def _differences(database: AsyncEngine) -> list[Any]:
    async with database.connect() as connection:
        return await connection.run_sync(lambda sync: list(compare_metadata(MigrationContext.configure(sync), METADATA)))


@pytest.mark.parametrize("revision", _EARLIER)
async def test_rows_of_every_earlier_revision_are_kept_and_its_processes_go_on_writing(database_url: str, revision: str) -> None:
    database = engine(database_url)
    await _bring_to(database, revision)
    tables = await _tables_of(database)
    await _write(database, tables, 1, whole=True)
    await _write(database, tables, 2, whole=False)
    before = await _read(database, tables)
    await migrate.upgrade(database)
    assert await migrate.current(database) == migrate.newest()
    assert await _differences(database) == []
    assert await _read(database, tables) == before
    # A process of that release, which goes on until it is replaced, knows the columns of then.
    await _write(database, tables, 3, whole=True)
    await _write(database, tables, 4, whole=False)
    assert {name: len(rows) for name, rows in (await _read(database, tables)).items()} == dict.fromkeys(before, 4)
    await database.dispose()


async def test_completions_from_before_they_were_decided_first_count_as_published(database_url: str) -> None:
    database = engine(database_url)
    await _bring_to(database, "0006")
    await _write(database, await _tables_of(database), 1, whole=True)
    await migrate.upgrade(database)
    async with database.connect() as connection:
        row = (await connection.execute(select(COMPLETIONS))).one()
    assert row.decided_at == row.published_at is not None
    await database.dispose()


@asynccontextmanager
async def _process(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.migrating", *arguments), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _says(process: asyncio.subprocess.Process, word: str) -> None:
    assert process.stdout is not None
    async with asyncio.timeout(60):
        said = (await process.stdout.readline()).decode().strip()
    assert said == word, (await process.communicate())[1].decode()


async def _waiting(connection: AsyncConnection, number: int) -> bool:
    """Whether so many others wait for the lock of this connection; SQLite does not tell."""
    waiting = (
        "SELECT pid FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database"
        " WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()"
    )
    return len((await connection.exec_driver_sql(waiting)).all()) == number


async def test_processes_that_upgrade_at_once_wait_for_each_other(database_url: str) -> None:
    database = engine(database_url)
    await _bring_to(database, _EARLIER[0])
    sqlite = database.dialect.name == "sqlite"
    lock = "BEGIN IMMEDIATE" if sqlite else f"SELECT pg_advisory_xact_lock({migrate._LOCK})"
    async with _process(database_url) as one, _process(database_url) as two, _process(database_url) as three:
        processes = [one, two, three]
        async with database.connect() as connection:
            await connection.exec_driver_sql(lock)
            for process in processes:
                await _says(process, "ready")
            if not sqlite:
                await eventually(lambda: _waiting(connection, 3), timeout=30)
            await connection.rollback()
        async with asyncio.timeout(60):
            ended = await asyncio.gather(*(process.communicate() for process in processes))
        assert [process.returncode for process in processes] == [0, 0, 0], [error.decode() for _, error in ended]
    assert await migrate.current(database) == migrate.newest()
    assert await _differences(database) == []
    await database.dispose()


async def test_an_upgrade_is_not_cut_off_by_the_time_out_of_statements(database_url: str) -> None:
    holder, database = engine(database_url), engine(database_url, statement_seconds=0.1)
    sqlite = database.dialect.name == "sqlite"
    await migrate.upgrade(holder)
    begun = time.monotonic()
    async with holder.connect() as connection:
        await connection.exec_driver_sql("BEGIN IMMEDIATE" if sqlite else f"SELECT pg_advisory_xact_lock({migrate._LOCK})")
        upgrading = asyncio.create_task(migrate.upgrade(database))
        await eventually(lambda: upgrading.done() or time.monotonic() > begun + 0.5)
        assert not upgrading.done()
        await connection.rollback()
    await upgrading
    for each in (holder, database):
        await each.dispose()


async def test_a_process_that_is_killed_while_it_upgrades_leaves_the_tables_as_they_were(database_url: str) -> None:
    database = engine(database_url)
    await _bring_to(database, "0002")
    tables = await _tables_of(database)
    await _write(database, tables, 1, whole=True)
    before = await _read(database, tables)
    async with _process(database_url, "0008") as process:
        await _says(process, "ready")
        await _says(process, "half")
        process.kill()
        await process.wait()
    assert await migrate.current(database) == "0002"
    assert [table.name for table in await _tables_of(database)] == [table.name for table in tables]
    await migrate.upgrade(database)
    assert await _differences(database) == []
    assert await _read(database, tables) == before
    await database.dispose()


async def _age(store: AsyncEngine, revision: str) -> None:
    """As another release would leave them: of a newer one with a column more."""
    async with store.begin() as connection:
        await connection.execute(text("ALTER TABLE history ADD COLUMN mood VARCHAR"))
        await connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})


async def test_tables_of_a_newer_release_are_left_alone_and_its_predecessor_runs_on(store: AsyncEngine, database_url: str) -> None:
    await _age(store, _NEWER)
    await migrate.upgrade(store)
    assert (await migrate.current(store), migrate.standing(_NEWER)) == (_NEWER, "newer")
    assert "mood" in {column.name for table in await _tables_of(store) if table.name == HISTORY.name for column in table.columns}
    await _write(store, METADATA.sorted_tables, 1, whole=True)
    settings = Settings(database_url=database_url)
    said: list[str] = []
    await setup._tables(settings, said.append)
    assert f"revision {_NEWER} of a newer Headrace, left as they are" in said[0]
    finding = await checks._ask("database", checks._database, settings)
    assert (finding.verdict, f"revision {_NEWER} is of a newer Headrace" in finding.detail) == ("warning", True)
    with capture_logs() as logs:
        await migrate.usable(store)
    assert [(line["event"], line["revision"]) for line in logs] == [("newer_tables", _NEWER)]


async def test_services_wait_for_tables_that_are_older_than_they(store: AsyncEngine) -> None:
    await _age(store, _EARLIER[-1])
    with pytest.raises(OSError, match=f"tables of revision {_EARLIER[-1]}, and {migrate.newest()} is needed: run `headrace setup`"):
        await migrate.usable(store)


async def test_the_tables_of_another_program_are_not_taken_for_a_newer_release(store: AsyncEngine, database_url: str) -> None:
    await _age(store, f"{uuid4().hex[:12]}")
    with pytest.raises(SetupError, match="give Headrace a database of its own"):
        await setup._tables(Settings(database_url=database_url), lambda _: None)
    finding = await checks._ask("database", checks._database, Settings(database_url=database_url))
    assert (finding.verdict, "not Headrace's" in finding.detail) == ("failed", True)
    with pytest.raises(OSError, match="tables of another program"):
        await migrate.usable(store)
