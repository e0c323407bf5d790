"""The tables and their migrations, on SQLite and on PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, select
from sqlalchemy.exc import StatementError
from sqlalchemy.ext.asyncio import AsyncEngine

from headrace.store import migrate
from headrace.store.engine import engine
from headrace.store.insert import insert_once
from headrace.store.tables import COMPLETIONS, METADATA


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
