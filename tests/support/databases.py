"""Fixtures: the two databases that Headrace runs on. A test that takes `database_url` runs on each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from headrace.store import migrate
from headrace.store.engine import engine
from tests.support import postgres


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Path]:
    with postgres.server() as folder:
        yield folder


@pytest_asyncio.fixture(params=["sqlite", "postgresql"])
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of the test's own."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/store.db"
    return await postgres.create_database(request.getfixturevalue("postgres_server"), f"t{uuid4().hex[:12]}")


@pytest_asyncio.fixture
async def store(database_url: str) -> AsyncIterator[AsyncEngine]:
    """A database with the tables."""
    made = engine(database_url)
    await migrate.upgrade(made)
    yield made
    await made.dispose()
