"""A route that is stopped is stopped in every process, over restarts, and while the database is away; on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio
from prometheus_client import REGISTRY
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from headrace import breakers
from headrace.breakers import StoppedRoute
from headrace.cli import route as command
from headrace.cli.errors import CommandError, Exit
from headrace.settings import Settings
from headrace.store import migrate
from headrace.store.engine import engine
from ingress.breaker import Breakers
from schemas.errors import Reason
from tests.support.eventually import eventually

ROUTE, TOPIC = "headrace.image.ImageGenerationRequested", "image.requests"
OTHER_ROUTE, OTHER_TOPIC = "headrace.learning.LearningPathRequested", "learning.requests"


@pytest_asyncio.fixture
async def second(store: AsyncEngine, database_url: str) -> AsyncIterator[AsyncEngine]:
    """What another process has: connections of its own to the same database."""
    del store
    made = engine(database_url)
    yield made
    await made.dispose()


def of(database: AsyncEngine, look_every: float = 0.02) -> Breakers:
    return Breakers(database, window=10, share=0.5, consecutive=3, in_flight=50, look_every=look_every)


def trip(found: Breakers, route: str = ROUTE, topic: str = TOPIC) -> None:
    for _ in range(3):
        found.dead_lettered(found.enter(route, topic), Reason.UNDECODABLE, "not Avro: \x1b[31m\0 at byte 0")


@contextlib.asynccontextmanager
async def away(database: AsyncEngine) -> AsyncIterator[None]:
    """A database that answers every question about breakers with an error."""
    async with database.begin() as connection:
        await connection.execute(text("ALTER TABLE breakers RENAME TO gone"))
    try:
        yield
    finally:
        async with database.begin() as connection:
            await connection.execute(text("ALTER TABLE gone RENAME TO breakers"))


async def rows(database: AsyncEngine) -> list[str]:
    return [found.route for found in await breakers.stopped_routes(database)]


def gauge(route: str) -> float | None:
    return REGISTRY.get_sample_value("headrace_ingress_route_stopped", {"route": route})


async def test_route_that_one_process_stops_is_stopped_in_all_and_goes_on_in_all(store: AsyncEngine, second: AsyncEngine) -> None:
    with capture_logs() as logs:
        async with of(store) as here, of(second) as there:
            here.dead_lettered(here.enter(ROUTE, TOPIC), Reason.UNDECODABLE, "first")
            here.enter(ROUTE, TOPIC)
            trip(here)
            assert here.is_open(ROUTE)  # at once: the next record is not to be dead-lettered
            assert here.stopped_topics() == {TOPIC}
            assert not here.is_open(OTHER_ROUTE)
            await eventually(lambda: there.is_open(ROUTE))
            assert there.stopped_topics() == {TOPIC}
            assert gauge(ROUTE) == 1
            cause = "3 dead letters in a row, the last: undecodable: not Avro:  [31m  at byte 0"
            assert there.open_routes() == here.open_routes() == {ROUTE: f"{cause}; to go on: `headrace route resume {ROUTE}`"}
            waiting = [asyncio.create_task(each.until_closed(ROUTE)) for each in (here, there) for _ in range(2)]
            await asyncio.sleep(0)
            assert not any(task.done() for task in waiting)
            assert await breakers.resume(store, ROUTE)
            assert not await breakers.resume(store, ROUTE)
            await asyncio.wait_for(asyncio.gather(*waiting), 10)
            assert not here.is_open(ROUTE)
            assert there.stopped_topics() == here.stopped_topics() == frozenset()
            assert gauge(ROUTE) == 0
            # It begins afresh: two more are not three in a row.
            for _ in range(2):
                there.dead_lettered(there.enter(ROUTE, TOPIC), Reason.INVALID, "again")
                here.dead_lettered(here.enter(ROUTE, TOPIC), Reason.INVALID, "again")
            assert not here.is_open(ROUTE)
            await here.until_closed(ROUTE)
    stopped = [entry for entry in logs if entry["event"] == "route_stopped"]
    assert {(entry["log_level"], entry["route"], entry["topic"], entry["cause"]) for entry in stopped} == {("error", ROUTE, TOPIC, cause)}
    assert all(f"headrace route resume {ROUTE}" in entry["hint"] for entry in stopped)
    assert len(stopped) == 2
    assert [entry["log_level"] for entry in logs if entry["event"] == "route_resumed"] == ["info", "info"]


async def test_route_that_went_on_stops_again_at_the_next_flood(store: AsyncEngine) -> None:
    async with of(store) as found:
        for _ in range(3):
            trip(found)
            assert found.is_open(ROUTE)
            await eventually(lambda: _written(found))
            await breakers.resume(store, ROUTE)
            await asyncio.wait_for(found.until_closed(ROUTE), 10)


async def test_two_processes_that_stop_one_route_at_once_leave_one_row_and_one_resume_ends_both(
    store: AsyncEngine, second: AsyncEngine
) -> None:
    async with of(store) as here, of(second) as there:
        trip(here)
        trip(there)
        await eventually(lambda: _written(here) and _written(there))
        assert await rows(store) == [ROUTE]
        await breakers.resume(store, ROUTE)
        await eventually(lambda: not here.is_open(ROUTE) and not there.is_open(ROUTE))
        assert await rows(store) == []


def _written(found: Breakers) -> bool:
    return all(held.in_table for held in found._open.values())


async def test_route_stays_stopped_when_its_process_starts_again(store: AsyncEngine) -> None:
    async with asyncio.timeout(5), of(store, look_every=60) as before:
        trip(before)
    # Written on the way out, however soon that came.
    assert await rows(store) == [ROUTE]
    async with of(store) as after:
        assert after.is_open(ROUTE)  # with the first record, and not a second later
        assert "3 dead letters in a row" in after.open_routes()[ROUTE]
        await breakers.resume(store, ROUTE)
        await asyncio.wait_for(after.until_closed(ROUTE), 10)


async def test_route_stops_while_the_database_is_away_and_its_row_is_written_when_it_is_back(
    store: AsyncEngine, second: AsyncEngine
) -> None:
    with capture_logs() as logs:
        async with of(store) as here, of(second) as there:
            trip(there, OTHER_ROUTE, OTHER_TOPIC)
            await eventually(lambda: here.is_open(OTHER_ROUTE))
            async with away(store):
                trip(here)
                assert here.is_open(ROUTE)
                await eventually(lambda: here._failures > 3 and there._failures > 3)
                # What cannot be read is neither resumed nor stopped.
                assert here.stopped_topics() == {TOPIC, OTHER_TOPIC}
                assert there.stopped_topics() == {OTHER_TOPIC}
            await eventually(lambda: there.is_open(ROUTE))
            assert here.is_open(ROUTE)
            assert await rows(store) == [ROUTE, OTHER_ROUTE]
            await eventually(lambda: not here._failures and not there._failures)
            assert not [entry for entry in logs if entry["event"] == "route_resumed"]
    # Once for each process and change, not for each look.
    assert len([entry for entry in logs if entry["event"] == "breakers_not_read"]) == 2
    assert len([entry for entry in logs if entry["event"] == "breakers_read_again"]) == 2


async def test_database_that_is_away_at_the_start_holds_nothing_up_and_is_read_as_soon_as_it_is_there(store: AsyncEngine) -> None:
    await breakers.stop(store, StoppedRoute(ROUTE, TOPIC, "50 dead letters in a row", datetime.now(UTC)))
    async with away(store):
        found = await asyncio.wait_for(of(store).__aenter__(), 2)
        assert not found.is_open(ROUTE)
        trip(found, OTHER_ROUTE, OTHER_TOPIC)
        assert found.is_open(OTHER_ROUTE)
    try:
        await eventually(lambda: found.is_open(ROUTE) and _written(found))
        assert await rows(store) == [ROUTE, OTHER_ROUTE]
    finally:
        await found.__aexit__(None, None, None)


async def test_database_that_cannot_even_be_opened_ends_neither_the_start_nor_the_watch(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    database = engine(f"sqlite+aiosqlite:///{folder}/store.db")
    async with of(database) as found:
        trip(found)
        assert found.is_open(ROUTE)
        await eventually(lambda: found._failures > 1)
        await migrate.upgrade(database)
        await eventually(lambda: _written(found))
        assert await rows(database) == [ROUTE]
    await database.dispose()


async def test_route_resumed_and_stopped_again_between_two_looks_stays_stopped(store: AsyncEngine, second: AsyncEngine) -> None:
    async with of(store) as here:
        trip(here)
        await eventually(lambda: _written(here))
        async with second.begin() as connection:
            await connection.execute(text("UPDATE breakers SET cause = 'another flood'"))
        for _ in range(2):  # the first may have begun before
            here._looked.clear()
            await asyncio.wait_for(here._looked.wait(), 10)
        assert here.is_open(ROUTE)


@contextlib.asynccontextmanager
async def locked(database: AsyncEngine) -> AsyncIterator[None]:
    """A database that takes the question and does not answer: PostgreSQL no question, SQLite none that writes."""
    async with database.connect() as connection:
        lock = "LOCK TABLE breakers" if connection.dialect.name == "postgresql" else "BEGIN IMMEDIATE"
        await connection.exec_driver_sql(lock)
        yield
        await connection.rollback()


async def test_database_that_does_not_answer_does_not_hold_the_start_up(
    store: AsyncEngine, second: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingress.breaker._START_SECONDS", 0.2)
    async with contextlib.AsyncExitStack() as leaving:
        async with locked(second):
            found = await asyncio.wait_for(leaving.enter_async_context(of(store)), 3)
            trip(found)
            assert found.is_open(ROUTE)
        await eventually(lambda: _written(found))
        assert await rows(store) == [ROUTE]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)  # SQLite's own ten seconds for a lock cannot be cut short
async def test_database_that_does_not_answer_does_not_hold_the_end_up(
    store: AsyncEngine, second: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingress.breaker._STOP_SECONDS", 0.2)
    async with locked(second), contextlib.AsyncExitStack() as leaving:
        monkeypatch.setattr("ingress.breaker._START_SECONDS", 0.2)
        found = await leaving.enter_async_context(of(store))
        trip(found)
        await asyncio.wait_for(leaving.aclose(), 3)
    assert await rows(store) == []


@pytest.mark.parametrize("many", [1, 3])
async def test_all_routes_of_a_topic_must_go_on_before_it_is_read(store: AsyncEngine, many: int) -> None:
    names = [f"{ROUTE}{number}" for number in range(many)]
    async with of(store) as found:
        for name in names:
            trip(found, name)
        await eventually(lambda: _written(found))
        for name in names:
            assert found.stopped_topics() == {TOPIC}
            await breakers.resume(store, name)
            await asyncio.wait_for(found.until_closed(name), 10)
        assert found.stopped_topics() == frozenset()


def stopped(route: str, topic: str = TOPIC) -> StoppedRoute:
    return StoppedRoute(route, topic, "50 dead letters in a row, the last: invalid: [bold]prompt", datetime.now(UTC))


@pytest.mark.parametrize(("name", "meant"), [(ROUTE, ROUTE), ("ImageGenerationRequested", ROUTE), (TOPIC, TOPIC)])
async def test_stopped_route_goes_on_by_whatever_name_it_is_called(
    store: AsyncEngine, database_url: str, name: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(database_url=database_url)
    for route in (ROUTE, TOPIC):
        await breakers.stop(store, stopped(route))
    await command.resume(settings, name, every=False)
    said = capsys.readouterr().out
    assert said.startswith(f"{meant} goes on; it was stopped since ")
    assert said.endswith("50 dead letters in a row, the last: invalid: [bold]prompt\n")
    [left] = await rows(store)
    assert left != meant
    with pytest.raises(CommandError, match=f"^{name} is not stopped; these are: {left}$") as again:
        await command.resume(settings, name, every=False)
    assert again.value.code == Exit.NOT_FOUND


async def test_all_that_is_stopped_goes_on_at_once_and_nothing_is_no_error(
    store: AsyncEngine, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(database_url=database_url)
    for route in (ROUTE, OTHER_ROUTE):
        await breakers.stop(store, stopped(route))
    await command.resume(settings, None, every=True)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [ROUTE, OTHER_ROUTE]
    assert await rows(store) == []
    await command.resume(settings, None, every=True)
    assert capsys.readouterr().out == "no route is stopped\n"


async def test_name_that_means_no_route_or_several_resumes_none(store: AsyncEngine, database_url: str) -> None:
    settings = Settings(database_url=database_url)
    for route in (TOPIC, ROUTE, "weather.ImageGenerationRequested"):
        await breakers.stop(store, stopped(route))
    for name, every, code in (
        ("requests", False, Exit.NOT_FOUND),  # the last part of a topic's name
        ("ImageGenerationRequested", False, Exit.USAGE),
        (None, False, Exit.USAGE),
        (ROUTE, True, Exit.USAGE),
    ):
        with pytest.raises(CommandError) as caught:
            await command.resume(settings, name, every=every)
        assert caught.value.code == code
    assert len(await rows(store)) == 3


async def test_list_shows_every_route_and_what_has_stopped_it(
    store: AsyncEngine, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(database_url=database_url)
    for route in (ROUTE, TOPIC):
        await breakers.stop(store, stopped(route))
    await command.show(settings, as_json=True)
    listed = {row["route"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert {route for route, row in listed.items() if row["stopped"]} == {ROUTE, TOPIC}
    assert listed[ROUTE]["workflow"] == "ImageGenerationWorkflow"
    assert listed[TOPIC]["stopped"]["resume"] == f"headrace route resume {TOPIC}"
    await command.show(settings, as_json=False)
    assert f"headrace route resume {ROUTE}" in capsys.readouterr().out


@pytest.mark.parametrize("url", ["sqlite+aiosqlite:///{}/missing.db", "postgresql+asyncpg://u:secret@127.0.0.1:1/none"])
async def test_command_that_cannot_reach_the_database_says_where_it_looked(url: str, tmp_path: Path) -> None:
    settings = Settings(database_url=url.format(tmp_path))
    for asked in (
        command.resume(settings, None, every=True),
        command.resume(settings, TOPIC, every=False),
        command.stopped_routes(settings),
    ):
        with pytest.raises(CommandError, match="HEADRACE_DATABASE_URL") as caught:
            await asked
        assert caught.value.code == Exit.UNREACHABLE
        assert "secret" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []  # looking made nothing
