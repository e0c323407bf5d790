"""The container tier's fixtures. It is asked for by name, and fails without a Docker engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import docker
import pytest
import pytest_asyncio
from docker.errors import DockerException

from tests.containers.box import SERVICE, WORKERS, build, network
from tests.containers.world import World, world


@pytest.fixture(scope="session")
def engine_answers() -> None:
    try:
        client = docker.from_env()
        client.ping()
        client.close()
    except DockerException as error:
        pytest.fail(
            f"the container tests need a Docker engine that this user may use, and there is none ({error}): start one", pytrace=False
        )


@pytest.fixture(scope="session")
def images(engine_answers: None) -> None:  # noqa: ARG001 - asked for first
    build("service", SERVICE)
    build("workers", WORKERS)


@pytest_asyncio.fixture(scope="session")
async def running(images: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:  # noqa: ARG001 - as above
    """The whole system in containers, started once for this tier."""
    with network() as made:
        async with world(made, await asyncio.to_thread(tmp_path_factory.mktemp, "secrets")) as everything:
            yield everything
