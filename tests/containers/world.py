"""Kafka, PostgreSQL, Temporal and S3 in containers, and Headrace's services in theirs."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from testcontainers.core.network import Network

from headrace.settings import Settings
from tests.containers.box import SERVICE, WORKERS, Box, free_port, pinned

TEMPORAL = "temporalio/temporal:1.9.1"
"""The server on one SQLite file: what these tests need of Temporal is the same as with PostgreSQL, which the compose project runs it on."""
KEY, SECRET, PASSWORD = "headrace-tests", "a-secret-of-the-tests", "another-secret"
KAFKA, POSTGRES, S3 = "kafka:19092", "postgres", "http://s3:8333"


@dataclass
class World:
    """All that runs, by name, and how it is reached from here."""

    network: Network
    settings: Settings
    secrets: Path
    boxes: dict[str, Box] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def service(self, *command: str, image: str = SERVICE) -> Box:
        """As docker-compose.yml runs it: nothing to write but /tmp, no capabilities, secrets from files."""
        box = Box(self.network, f"{command[0]}-{next(self._numbers)}", image, list(command), read_only=True, cap_drop=["ALL"])
        return (
            box.scratch("/tmp")  # noqa: S108 - the container's
            .file(self.secrets, "/run/secrets")
            .environment(
                HEADRACE_SECRETS_DIR="/run/secrets",
                HEADRACE_KAFKA_BOOTSTRAP_SERVERS=KAFKA,
                HEADRACE_S3_ENDPOINT_URL=S3,
                HEADRACE_S3_PUBLIC_ENDPOINT_URL=self.settings.s3_endpoint_url or "",
                TEMPORAL_ADDRESS="temporal:7233",
            )
        )

    async def start(self, box: Box) -> Box:
        self.boxes[box.name] = box
        return await box.start()


@contextlib.asynccontextmanager
async def world(network: Network, folder: Path) -> AsyncIterator[World]:
    """Everything, set up and healthy: two ingresses, a worker of images, two notifiers."""
    made = World(network, _settings(free_port(), free_port(), free_port(), free_port()), _secrets(folder))
    try:
        await _parts(made)
        setup = await made.start(made.service("setup"))
        assert await setup.ended() == 0, await setup.log()
        services = [made.service(name) for name in ("ingress", "ingress", "notifier", "notifier")]
        services.append(made.service("workers", "--domain", "image", image=WORKERS))
        for box in services:
            await made.start(box)
        await asyncio.gather(*(box.healthy() for box in services))
        yield made
    finally:
        await asyncio.gather(*(box.remove() for box in made.boxes.values()), return_exceptions=True)


async def _parts(made: World) -> None:
    s = made.settings
    kafka, temporal = int(s.kafka_bootstrap_servers.rpartition(":")[2]), int(s.temporal_address.rpartition(":")[2])
    s3, postgres = int((s.s3_endpoint_url or "").rpartition(":")[2]), int(s.database_url.rpartition(":")[2].partition("/")[0])
    for box in (
        _kafka(made.network, kafka),
        _postgres(made.network, postgres),
        _temporal(made.network, temporal),
        _s3(made.network, s3),
    ):
        await made.start(box)
    await made.boxes["kafka"].answers(19092)
    await made.boxes["postgres"].answers(5432)
    await made.boxes["temporal"].answers(7233)
    await made.boxes["s3"].answers(8333)


def _settings(kafka: int, temporal: int, s3: int, postgres: int) -> Settings:
    """How the parts are reached from here."""
    return Settings.model_validate(
        {
            "kafka_bootstrap_servers": f"127.0.0.1:{kafka}",
            "temporal_address": f"127.0.0.1:{temporal}",
            "s3_endpoint_url": f"http://127.0.0.1:{s3}",
            "s3_access_key_id": KEY,
            "s3_secret_access_key": SECRET,
            "database_url": f"postgresql+asyncpg://postgres:{PASSWORD}@127.0.0.1:{postgres}/postgres",
        }
    )


def _secrets(folder: Path) -> Path:
    secrets = {
        "headrace_database_url": f"postgresql+asyncpg://postgres:{PASSWORD}@{POSTGRES}/postgres",
        "headrace_s3_access_key_id": KEY,
        "headrace_s3_secret_access_key": SECRET,
    }
    for name, value in secrets.items():
        (folder / name).write_text(value)
    # The container's user is another one.
    folder.chmod(0o755)
    return folder


def _kafka(network: Network, port: int) -> Box:
    return (
        Box(network, "kafka", pinned("kafka"))
        .port(9092, port)
        .environment(
            KAFKA_NODE_ID="1",
            KAFKA_PROCESS_ROLES="broker,controller",
            KAFKA_CONTROLLER_QUORUM_VOTERS="1@localhost:9093",
            KAFKA_CONTROLLER_LISTENER_NAMES="CONTROLLER",
            KAFKA_LISTENERS="CONTAINERS://:19092,HOST://:9092,CONTROLLER://:9093",
            KAFKA_ADVERTISED_LISTENERS=f"CONTAINERS://{KAFKA},HOST://127.0.0.1:{port}",
            KAFKA_LISTENER_SECURITY_PROTOCOL_MAP="CONTAINERS:PLAINTEXT,HOST:PLAINTEXT,CONTROLLER:PLAINTEXT",
            KAFKA_INTER_BROKER_LISTENER_NAME="CONTAINERS",
            KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR="1",
            KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR="1",
            KAFKA_TRANSACTION_STATE_LOG_MIN_ISR="1",
            KAFKA_AUTO_CREATE_TOPICS_ENABLE="false",
            # A broker that was killed comes back when its old registration has expired.
            KAFKA_BROKER_SESSION_TIMEOUT_MS="3000",
            KAFKA_BROKER_HEARTBEAT_INTERVAL_MS="1000",
            KAFKA_HEAP_OPTS="-Xms256m -Xmx384m",
        )
    )


def _postgres(network: Network, port: int) -> Box:
    return Box(network, "postgres", pinned("postgres"), shm_size="128m").port(5432, port).environment(POSTGRES_PASSWORD=PASSWORD)


def _temporal(network: Network, port: int) -> Box:
    options = ("--db-filename", "/tmp/temporal.db", "--sqlite-pragma", "journal_mode=wal")  # noqa: S108 - the container's
    command = ["server", "start-dev", "--headless", "--ip", "0.0.0.0", "--log-level", "error", *options]  # noqa: S104 - the container's
    return Box(network, "temporal", TEMPORAL, command).port(7233, port)


def _s3(network: Network, port: int) -> Box:
    command = [
        "mini",
        "-dir=/data",
        "-master.telemetry=false",
        "-webdav=false",
        "-admin.ui=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
    ]
    box = Box(network, "s3", pinned("seaweedfs"), command).port(8333, port)
    return box.environment(AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET)
