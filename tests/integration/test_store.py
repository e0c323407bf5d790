"""The tables and their migrations, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, select, text
from sqlalchemy.exc import SQLAlchemyError, StatementError
from sqlalchemy.ext.asyncio import AsyncEngine

from headrace.settings import Settings, SettingsError
from headrace.store import migrate
from headrace.store.away import why
from headrace.store.engine import engine, engine_of
from headrace.store.insert import insert_once
from headrace.store.tables import COMPLETIONS, METADATA
from tests.support import postgres
from tests.support.eventually import eventually


def _completion() -> dict[str, Any]:
    return {
        "completion_id": uuid4(),
        "event_id": uuid4(),
        "record": "headrace.image.ImageGenerationCompleted",
        "status": "SUCCEEDED",
        "topic": "image.completions",
        "partition": 3,
        "offset": 2**40,
        "published_at": datetime(2026, 11, 24, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=5))),
        **dict.fromkeys(("decided_at", "key", "value", "headers")),
    }


async def test_migrations_and_metadata_do_not_drift_apart(store: AsyncEngine) -> None:
    def differences(connection: Connection) -> list[Any]:
        return list(compare_metadata(MigrationContext.configure(connection), METADATA))

    async with store.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_second_upgrade_changes_nothing(store: AsyncEngine) -> None:
    async with store.begin() as connection:
        await insert_once(connection, COMPLETIONS, _completion())
    await migrate.upgrade(store)
    assert await migrate.current(store) == migrate.newest()
    async with store.connect() as connection:
        assert len((await connection.execute(select(COMPLETIONS))).all()) == 1


async def test_missing_tables_are_told_from_present_ones(database_url: str) -> None:
    made = engine(database_url)
    assert await migrate.current(made) is None
    await migrate.upgrade(made)
    assert await migrate.current(made) == migrate.newest()
    await made.dispose()


async def test_looking_at_a_missing_sqlite_file_does_not_create_it(tmp_path: Path) -> None:
    made = engine(f"sqlite+aiosqlite:///{tmp_path}/folder/store.db")
    assert await migrate.current(made) is None
    await made.dispose()
    assert not (tmp_path / "folder").exists()


async def test_a_process_of_the_version_before_still_writes_into_the_tables_of_the_next(database_url: str) -> None:
    """`headrace setup` comes first in an upgrade: no migration takes away a column, or asks for one that only the next version writes."""
    made = engine(database_url)
    revisions = [each.revision for each in ScriptDirectory.from_config(migrate._config()).walk_revisions()][::-1]

    def columns(connection: Connection, revision: str) -> dict[tuple[str, str], Any]:
        config = migrate._config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        look = inspect(connection)
        return {(table, column["name"]): column for table in look.get_table_names() for column in look.get_columns(table)}

    before: dict[tuple[str, str], Any] = {}
    for revision in revisions:
        async with made.begin() as connection:
            after = await connection.run_sync(columns, revision)
        tables = {table for table, _ in before}
        for name, column in after.items():
            if name in before:
                assert str(column["type"]) == str(before[name]["type"]), f"{revision}: {name}"
                assert column["nullable"] or not before[name]["nullable"], f"{revision}: {name} must have a value now"
            elif name[0] in tables:
                assert column["nullable"] or column["default"] is not None, f"{revision}: {name} has no default"
        assert before.keys() - after.keys() == set(), f"{revision} removes columns"
        before = after
    assert len(revisions) > 1
    await made.dispose()


async def test_moments_come_back_as_they_went_in_whatever_their_zone(store: AsyncEngine) -> None:
    row = _completion()
    async with store.begin() as connection:
        await insert_once(connection, COMPLETIONS, row)
    async with store.connect() as connection:
        got = (await connection.execute(select(COMPLETIONS))).mappings().one()
    assert dict(got) == row
    assert got["published_at"].tzinfo is UTC or got["published_at"].utcoffset() == timedelta(0)


async def test_moment_without_a_zone_is_refused(store: AsyncEngine) -> None:
    async with store.connect() as connection:
        with pytest.raises(StatementError, match="no time zone"):
            await insert_once(connection, COMPLETIONS, {**_completion(), "published_at": datetime(2026, 1, 1)})  # noqa: DTZ001 - the point


async def test_row_with_a_known_key_is_kept_as_it_was(store: AsyncEngine) -> None:
    row = _completion()
    async with store.begin() as connection:
        assert await insert_once(connection, COMPLETIONS, row)
        assert not await insert_once(connection, COMPLETIONS, {**row, "offset": 7})
    async with store.connect() as connection:
        assert (await connection.execute(select(COMPLETIONS.c.offset))).scalar_one() == row["offset"]


async def test_error_text_carries_no_row_values(database_url: str) -> None:
    made = engine(database_url)
    with pytest.raises(Exception, match="completions") as caught:
        async with made.begin() as connection:
            await insert_once(connection, COMPLETIONS, {**_completion(), "topic": "secret-topic"})
    assert "secret-topic" not in str(caught.value)
    await made.dispose()


async def test_a_statement_that_takes_too_long_is_ended_and_says_by_which_setting(database_url: str) -> None:
    holder, made = engine(database_url), engine(database_url, statement_seconds=0.2)
    await migrate.upgrade(holder)
    async with holder.connect() as connection:
        sqlite = made.dialect.name == "sqlite"
        await connection.exec_driver_sql("BEGIN IMMEDIATE" if sqlite else "LOCK TABLE completions IN EXCLUSIVE MODE")
        # What every caller takes for the database being away, and tries again.
        with pytest.raises(SQLAlchemyError) as ended:
            async with made.begin() as waiting:
                await insert_once(waiting, COMPLETIONS, _completion())
        await connection.rollback()
    assert "HEADRACE_DATABASE_STATEMENT_SECONDS" in why(ended.value)
    async with made.begin() as connection:
        assert await insert_once(connection, COMPLETIONS, _completion())
    for each in (holder, made):
        await each.dispose()


async def test_a_process_opens_no_more_connections_than_it_may(database_url: str) -> None:
    made = engine(database_url, pool_size=2)

    async def third() -> int:
        async with made.connect() as connection:
            return int((await connection.execute(text("SELECT 3"))).scalar_one())

    async with made.connect() as one, made.connect() as two:
        for connection in (one, two):
            await connection.execute(text("SELECT 1"))
        waiting = asyncio.create_task(third())
        await asyncio.sleep(0)
        assert made.pool.status().startswith("Pool size: 2  Connections in pool: 0 Current Overflow: 0 Current Checked out connections: 2")
        assert not waiting.done()
    assert await waiting == 3
    await made.dispose()


async def test_a_connection_is_set_so_that_nothing_of_a_dead_process_is_held_for_long(postgres_server: Path) -> None:
    url = await postgres.create_database(postgres_server, f"t{uuid4().hex[:12]}")
    settings = Settings(database_url=url, database_statement_seconds=7)
    names = ("application_name", "statement_timeout", "idle_in_transaction_session_timeout")
    found = []
    for made in (engine_of(settings, "notifier"), engine_of(settings), engine_of(settings, "workers-maintenance", long_statements=True)):
        async with made.connect() as connection:
            found.append([(await connection.exec_driver_sql(f"SHOW {name}")).scalar_one() for name in names])
        await made.dispose()
    assert found == [["headrace-notifier", "7s", "1min"], ["headrace", "7s", "1min"], ["headrace-workers-maintenance", "0", "1min"]]


async def test_a_long_statement_ends_with_the_activity_that_asked_for_it(postgres_server: Path) -> None:
    made = engine(await postgres.create_database(postgres_server, f"t{uuid4().hex[:12]}"), long_statements=True)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5), made.connect() as connection:
            await connection.execute(text("SELECT pg_sleep(600)"))
    asleep = text("SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()")

    async def none_sleeps() -> bool:
        async with made.connect() as connection:
            return (await connection.execute(asleep)).first() is None

    await eventually(none_sleeps)
    await made.dispose()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("nonsense:hidden@h", "postgresql\\+asyncpg://USER:PASSWORD@HOST/NAME: Could not parse"),
        ("postgresql://me:hidden@h/x", "No module named 'psycopg2?'"),
        ("postgresql+asyncpg://me:hidden@h:den/x", "the port is a number, and an @ in the password is written %40"),
        ("postgresql+asyncpg://me:hid@den@h/x", "an @ in its password: it is written %40 there"),
        ("postgresql+asyncpg://me:hidden@h/x?sslmode=verify-full", "sslmode is libpq's word; .* takes ssl=verify-full"),
        ("postgresql+asyncpg://me:hidden@h/x?sslrootcert=ca.pem", "takes PGSSLROOTCERT"),
        ("postgresql+asyncpg://me@h/x?password=hidden", "the password stands before the host"),
        ("postgresql+asyncpg://me:hidden@h/x?colour=red", "knows no parameter colour"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_before_anything_connects(url: str, sentence: str) -> None:
    with pytest.raises(SettingsError, match=f"HEADRACE_DATABASE_URL.*{sentence}") as refused:
        engine_of(Settings(database_url=url))
    assert not re.search("hid|den", str(refused.value))
