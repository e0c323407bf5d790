"""Learning paths in SQL, on both databases: one row and one version for each event, whoever writes it and how often."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.exceptions import ApplicationError

from headrace.store.engine import engine
from headrace.store.tables import LEARNING_PATHS
from schemas import ids
from schemas.learning import LearningPathResult
from workers.learning.models import SavePath
from workers.learning.storage import SqlPaths

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def path(event_id: UUID | None = None, *, user_id: str = "u", category: str = "Python", level: str = "beginner") -> SavePath:
    event_id = event_id or uuid4()
    made = LearningPathResult(
        path_id=ids.path_id(event_id),
        version=0,
        category=category,
        level=level,
        level_reasoning="a \x00 that no database keeps in a text",
        assumed=[],
        modules=[],
        modules_without_resources=[],
        weeks=[],
        total_hours=0,
        estimated_duration_days=30,
        resources_count=0,
        generator="local",
        model="m",
    )
    return SavePath(event_id=event_id, user_id=user_id, time_commitment_hours=5, learning_style="balanced", at=NOW, path=made)


async def rows(store: AsyncEngine) -> list[tuple[UUID, str, str, int]]:
    table = LEARNING_PATHS.c
    async with store.connect() as connection:
        found = await connection.execute(select(table.event_id, table.user_id, table.category, table.version).order_by(table.version))
        return [(row.event_id, row.user_id, row.category, row.version) for row in found]


async def test_a_path_that_is_saved_again_is_the_same_row_and_version(store: AsyncEngine) -> None:
    paths, one = SqlPaths(store), path()
    first = await paths.save(one)
    await paths.save(path())
    again = await paths.save(one.model_copy(update={"at": NOW + timedelta(days=1)}))
    assert first == again
    assert (first.path_id, first.version) == (ids.path_id(one.event_id), 1)
    assert len(await rows(store)) == 2


async def test_a_later_generation_writes_its_path_over_that_of_the_one_before(store: AsyncEngine) -> None:
    paths, first = SqlPaths(store), path()
    saved = await paths.save(first)
    changed = first.path.model_copy(update={"level": "advanced", "resources_count": 7})
    assert await paths.save(first.model_copy(update={"path": changed, "generation": 2})) == saved
    assert await paths.save(first) == saved
    async with store.connect() as connection:
        [row] = (await connection.execute(select(LEARNING_PATHS))).all()
    assert (row.version, row.level, json.loads(row.path)["resources_count"]) == (1, "advanced", 7)


async def test_two_events_of_a_user_and_category_are_versions_1_and_2(store: AsyncEngine) -> None:
    paths = SqlPaths(store)
    versions = [(await paths.save(path(category=name))).version for name in ("Python", " python", "PYTHON")]
    others = [(await paths.save(other)).version for other in (path(user_id="v"), path(category="Go"))]
    assert (versions, others) == ([1, 2, 3], [1, 1])


async def test_a_category_that_grows_when_it_is_folded_fits_into_the_index(store: AsyncEngine) -> None:
    paths, ligature = SqlPaths(store), "\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}"  # folds to eighteen letters
    saved = [await paths.save(path(user_id="\N{WATER BUFFALO}" * 128, category=ligature * 100)) for _ in range(2)]
    assert [one.version for one in saved] == [1, 2]


async def test_attempts_at_one_time_in_two_workers_make_one_row(store: AsyncEngine, database_url: str) -> None:
    other = engine(database_url)
    one = path()
    try:
        saved = await asyncio.gather(*(SqlPaths(made).save(one) for made in (store, other) * 6))
    finally:
        await other.dispose()
    assert {(each.path_id, each.version) for each in saved} == {(ids.path_id(one.event_id), 1)}
    assert await rows(store) == [(one.event_id, "u", "python", 1)]


async def test_events_at_one_time_in_two_workers_have_a_version_each_without_a_gap(store: AsyncEngine, database_url: str) -> None:
    other = engine(database_url)
    events = [path() for _ in range(12)]
    try:
        saved = await asyncio.gather(*(SqlPaths(made).save(one) for one in events for made in (store, other)))
    finally:
        await other.dispose()
    assert sorted({each.version for each in saved}) == list(range(1, 13))
    assert len({(each.path_id, each.version) for each in saved}) == 12
    assert len(await rows(store)) == 12


async def test_what_is_stored_is_the_path(store: AsyncEngine) -> None:
    one = path()
    saved = await SqlPaths(store).save(one)
    async with store.connect() as connection:
        row = (await connection.execute(select(LEARNING_PATHS))).one()
    stored = LearningPathResult.model_validate({**json.loads(row.path), "version": row.version})
    assert stored == one.path.model_copy(update={"version": saved.version})
    assert (row.level, row.duration_days, row.created_at) == ("beginner", 30, NOW)


async def test_earlier_paths_are_those_of_the_user_and_category_but_the_events_own(store: AsyncEngine) -> None:
    paths, own = SqlPaths(store), path(level="advanced")
    for one in (path(), path(level="intermediate"), own, path(user_id="v"), path(category="Go")):
        await paths.save(one)
    found = await paths.earlier("u", " PYTHON ", but=own.event_id)
    assert [(one.version, one.level, one.created_at, one.duration_days) for one in found] == [
        (2, "intermediate", NOW, 30),
        (1, "beginner", NOW, 30),
    ]
    assert await paths.earlier("nobody", "Python", but=own.event_id) == []


async def test_a_database_without_tables_is_an_error_that_is_tried_again_and_shows_no_values(database_url: str) -> None:
    made = engine(database_url)
    paths = SqlPaths(made)
    try:
        with pytest.raises(ApplicationError) as saving:
            await paths.save(path(user_id="ada-the-secret"))
        with pytest.raises(ApplicationError) as asking:
            await paths.earlier("ada-the-secret", "Python", but=uuid4())
    finally:
        await made.dispose()
    for error in (saving.value, asking.value):
        assert (error.type, error.non_retryable) == ("DatabaseUnavailable", False)
        assert "ada-the-secret" not in str(error)


async def test_a_database_that_is_not_there_is_an_error_that_is_tried_again() -> None:
    made = engine("postgresql+asyncpg://nobody@127.0.0.1:1/none")
    try:
        with pytest.raises(ApplicationError) as raised:
            await SqlPaths(made).save(path())
    finally:
        await made.dispose()
    assert (raised.value.type, raised.value.non_retryable) == ("DatabaseUnavailable", False)
