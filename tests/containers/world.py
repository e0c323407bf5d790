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
from tests.containers.box import COMPOSE, ROOT, SERVICE, WORKERS, Box, free_port, pinned

KEY, SECRET, PASSWORD, TEMPORALS = "headrace-tests", "a-secret-of-the-tests", "another-secret", "temporals-own-secret"
KAFKA, S3, DATABASE = "kafka:19092", "http://s3:8333", f"postgresql+asyncpg://headrace:{PASSWORD}@{{}}/headrace"
DEPLOY = ROOT / "deploy"


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
        await _ends_well(await made.start(made.service("setup")))
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
    for box in (_kafka(made.network, kafka), _postgres(made, postgres), _s3(made.network, s3)):
        await made.start(box)
    await made.boxes["postgres"].answers(5432)
    await _ends_well(await made.start(_tools(made, "schema")))
    await made.start(_temporal(made, temporal))
    await made.boxes["temporal"].answers(7233)
    await _ends_well(await made.start(_tools(made, "namespace").environment(TEMPORAL_ADDRESS="temporal:7233")))
    await made.boxes["kafka"].answers(19092)
    await made.boxes["s3"].answers(8333)


async def _ends_well(box: Box) -> None:
    assert await box.ended() == 0, await box.log()


def _settings(kafka: int, temporal: int, s3: int, postgres: int) -> Settings:
    """How the parts are reached from here."""
    return Settings.model_validate(
        {
            "kafka_bootstrap_servers": f"127.0.0.1:{kafka}",
            "temporal_address": f"127.0.0.1:{temporal}",
            "s3_endpoint_url": f"http://127.0.0.1:{s3}",
            "s3_access_key_id": KEY,
            "s3_secret_access_key": SECRET,
            "database_url": DATABASE.format(f"127.0.0.1:{postgres}"),
        }
    )


def _secrets(folder: Path) -> Path:
    secrets = {
        "headrace_database_url": DATABASE.format("postgres"),
        "headrace_postgres_password": PASSWORD,
        "temporal_postgres_password": TEMPORALS,
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


def _postgres(made: World, port: int) -> Box:
    box = Box(made.network, "postgres", pinned("postgres"), ["postgres", "-c", "max_connections=300"], shm_size="128m")
    box.file(DEPLOY / "postgres" / "init.sh", "/docker-entrypoint-initdb.d/init.sh").file(made.secrets, "/run/secrets")
    return box.port(5432, port).environment(POSTGRES_PASSWORD=PASSWORD)


def _tools(made: World, script: str) -> Box:
    """One of the steps that docker-compose.yml takes before Temporal can be used."""
    box = Box(made.network, script, pinned(f"temporal-{script}"), entrypoint=["/bin/sh", f"/deploy/{script}.sh"])
    return box.file(DEPLOY / "temporal", "/deploy").file(made.secrets, "/run/secrets")


def _temporal(made: World, port: int) -> Box:
    box = Box(made.network, "temporal", pinned("temporal"), entrypoint=["/bin/sh", "/deploy/server.sh"])
    box.file(DEPLOY / "temporal", "/deploy").file(made.secrets, "/run/secrets")
    given = {**COMPOSE["services"]["temporal"]["environment"], "DYNAMIC_CONFIG_FILE_PATH": "/deploy/dynamic.yml"}
    return box.port(7233, port).environment(**{name: str(value) for name, value in given.items()})


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
