"""Fixtures that every tier may use: the embedded stack, started once, and settings with names of each test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import hypothesis
import pytest
import pytest_asyncio
from confluent_kafka.admin import AdminClient

from headrace.settings import Settings
from headrace.stack.supervisor import Stack
from tests.support.ingress import IMAGE_ROUTES

# A deadline would be a timed test: these machines are shared.
hypothesis.settings.register_profile("headrace", deadline=None)
hypothesis.settings.load_profile("headrace")

CONTAINERS = Path(__file__).parent / "containers"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The container tier runs when it is named, `pytest tests/containers`, and then fails without a Docker engine."""
    named = (Path(argument.partition("::")[0]).absolute() for argument in config.args)
    return True if collection_path == CONTAINERS and not any(path.is_relative_to(CONTAINERS) for path in named) else None


pytest_plugins = [
    "tests.support.databases",
    "tests.support.messages",
    "tests.support.registry",
    "tests.support.runs",
    "tests.support.secure_postgres",
]


@pytest_asyncio.fixture(scope="session")
async def stack_environment(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, str]]:
    """The real Kafka, Temporal and S3, started once for the run, as environment variables."""
    async with Stack(tmp_path_factory.mktemp("stack"), services=False) as stack:
        yield stack.addresses.environment()


@pytest.fixture(scope="session")
def broker(stack_environment: dict[str, str]) -> AdminClient:
    return AdminClient({"bootstrap.servers": stack_environment["HEADRACE_KAFKA_BOOTSTRAP_SERVERS"], "log_level": 0})


@pytest.fixture
def settings(stack_environment: dict[str, str], broker: AdminClient, tmp_path: Path) -> Iterator[Settings]:
    """Settings of one test: its own topics (by prefix, of the image domain), group, bucket and database on the shared stack."""
    name = f"t{uuid4().hex[:12]}"
    given = {key.lower().removeprefix("headrace_"): value for key, value in stack_environment.items()}
    yield Settings.model_validate(
        {
            **given,
            "topic_prefix": f"{name}.",
            "ingress_group": name,
            "routes_file": IMAGE_ROUTES,
            "s3_bucket": name,
            "database_url": f"sqlite+aiosqlite:///{tmp_path}/headrace.db",
        }
    )
    # A broker of this size that keeps every test's partitions stands still when there are ten thousand.
    if made := [topic for topic in broker.list_topics(timeout=30).topics if topic.startswith(f"{name}.")]:
        for deleted in broker.delete_topics(made).values():
            deleted.result(30)
