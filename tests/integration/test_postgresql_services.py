"""Every process of Headrace on a PostgreSQL with TLS and a password, which is killed under load and started again."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest
from sqlalchemy import Table, func, select

from headrace.completions import completions
from headrace.producer import RequestProducer
from headrace.settings import Settings
from headrace.stack.ports import LOOPBACK
from headrace.store.engine import engine_of
from headrace.store.tables import COMPLETIONS, HISTORY, LEARNING_PATHS, LEDGER
from headrace.wire import Wire
from schemas.catalog import Catalog, shipped
from schemas.image import ImageGenerationRequested
from schemas.learning import LearningPathRequested
from tests.faults.members import ROOT, environment
from tests.support.eventually import eventually
from tests.support.secure_postgres import PASSWORD, USER, SecurePostgres, secure_postgres
from tests.support.temporal_namespace import in_namespace_of_its_own

_REQUESTS = 60
_POOL = 4
_SERVICES = {
    "ingress": ["ingress"],
    "notifier": ["notifier"],
    "image": ["workers", "--domain", "image"],
    "learning": ["workers", "--domain", "learning"],
}
_CONNECTED = "SELECT application_name, ssl, count(*) FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) WHERE datname = $1 GROUP BY 1, 2"


def _routes(folder: Path) -> Path:
    """Two domains: all of them would be a hundred partitions on a broker that many tests share."""
    wanted = {
        "image": ("ImageGenerationRequested", "ImageGenerationWorkflow"),
        "learning": ("LearningPathRequested", "LearningPathWorkflow"),
    }
    file = folder / "routes.toml"
    file.write_text(
        "".join(
            f'[[route]]\nrecord = "headrace.{domain}.{record}"\nschema = "{ROOT}/schemas/avro/{domain}/{record}.avsc"\n'
            f'workflow = "{workflow}"\ntask_queue = "project-ai-{domain}"\n'
            for domain, (record, workflow) in wanted.items()
        )
    )
    return file


@dataclass(frozen=True)
class System:
    settings: Settings
    folder: Path
    database: SecurePostgres

    def log(self, service: str) -> str:
        return (self.folder / f"{service}.log").read_text()

    async def connected(self) -> dict[str, tuple[bool, int]]:
        """Who is connected to the database, whether encrypted, and with how many connections."""
        connection = await asyncpg.connect(host=LOOPBACK, port=self.database.port, user=USER, password=PASSWORD, database="postgres")
        try:
            return {row[0]: (row[1], row[2]) for row in await connection.fetch(_CONNECTED, "headrace")}
        finally:
            await connection.close()

    async def count(self, table: Table) -> int:
        made = engine_of(self.settings)
        try:
            async with made.connect() as connection:
                return int((await connection.execute(select(func.count()).select_from(table))).scalar_one())
        finally:
            await made.dispose()


@contextlib.asynccontextmanager
async def _running(system: System, given: dict[str, str]) -> AsyncIterator[None]:
    """`headrace setup`, then the services as processes; each of them ends by itself when it is asked to."""
    variables = environment(given, HEADRACE_ROUTES_FILE=str(system.settings.routes_file))
    setup = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "headrace.cli.main", "setup"),
        env=variables,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(setup.communicate(), 120)
    assert setup.returncode == 0, said.decode()
    assert PASSWORD not in said.decode()
    processes: dict[str, asyncio.subprocess.Process] = {}
    try:
        for service, arguments in _SERVICES.items():
            with (system.folder / f"{service}.log").open("wb") as log:
                processes[service] = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", *arguments), env=variables, cwd=ROOT, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
                )
        for service, ready in (("notifier", "notifier_started"), ("image", "worker_started"), ("learning", "worker_started")):
            await eventually(lambda: f'"{ready}"' in system.log(service), timeout=90)  # noqa: B023 - awaited here
        yield
        for process in processes.values():
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            codes = {service: await process.wait() for service, process in processes.items()}
        assert codes == dict.fromkeys(_SERVICES, 0)
    finally:
        for process in processes.values():
            if process.returncode is None:
                process.kill()
                await process.wait()


@pytest.mark.timeout(300)
async def test_a_database_that_is_killed_under_load_loses_nothing(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with secure_postgres() as database:
        await database.create_database("headrace")
        settings = await in_namespace_of_its_own(settings)  # the notifier tells of every run of its namespace
        monkeypatch.setenv("PGSSLROOTCERT", str(database.authority.file))
        settings = settings.model_copy(update={"database_url": database.url("headrace"), "routes_file": _routes(tmp_path)})
        system = System(settings, tmp_path, database)
        async with _running(system, _variables(settings, tmp_path)):
            told, connected = await _through_a_restart(system)
        assert set(connected) == {"headrace-ingress", "headrace-notifier", "headrace-workers-learning"}
        assert all(encrypted and number <= _POOL for encrypted, number in connected.values()), connected
        assert sorted(told.values()) == ["SUCCEEDED"] * (_REQUESTS + 1)
        for table in (LEDGER, COMPLETIONS, HISTORY):
            assert await system.count(table) == _REQUESTS + 1, table.name
        assert await system.count(LEARNING_PATHS) == 1
        for service in _SERVICES:
            assert PASSWORD not in system.log(service)
            assert "p%40ss" not in system.log(service)


def _variables(settings: Settings, folder: Path) -> dict[str, str]:
    given = {
        f"HEADRACE_{name.upper()}": value
        for name in ("kafka_bootstrap_servers", "topic_prefix", "ingress_group", "database_url", "s3_endpoint_url", "s3_bucket")
        if (value := getattr(settings, name)) is not None
    }
    assert settings.s3_secret_access_key is not None
    return {
        **given,
        "HEADRACE_S3_ACCESS_KEY_ID": settings.s3_access_key_id or "",
        "HEADRACE_S3_SECRET_ACCESS_KEY": settings.s3_secret_access_key.get_secret_value(),
        "HEADRACE_STATE_DIR": str(folder),
        "HEADRACE_DATABASE_POOL_SIZE": str(_POOL),
        "TEMPORAL_ADDRESS": settings.temporal_address,
        "TEMPORAL_NAMESPACE": settings.temporal_namespace,
    }


async def _through_a_restart(system: System) -> tuple[dict[UUID, str], dict[str, tuple[bool, int]]]:
    """Sends requests, kills the database when some have come through, starts it again; how each event ended, and who was connected."""
    wire = Wire.of(system.settings, Catalog(shipped()))
    told: dict[UUID, str] = {}
    sent: set[UUID] = set()

    async def receive() -> None:
        async for received in completions(system.settings, wire, ["image", "learning"], follow=True):
            assert received.completion["event_id"] not in told
            told[received.completion["event_id"]] = received.completion["status"]

    receiving = asyncio.create_task(receive())
    try:
        async with RequestProducer(system.settings, wire) as producer:
            path = LearningPathRequested(
                event_id=uuid4(),
                user_id="u",
                requested_at=datetime.now(UTC),
                category="machine learning",
                skill_level="beginner",
                time_commitment_hours=4,
            )
            sent.add(path.event_id)
            await producer.send(path)
            await eventually(lambda: path.event_id in told, timeout=90)
            for number in range(_REQUESTS):
                if number == _REQUESTS // 2:
                    await eventually(lambda: len(told) > 5, timeout=60)
                    connected = await system.connected()
                    await asyncio.to_thread(system.database.server.kill)
                image = _image(number)
                sent.add(image.event_id)
                await producer.send(image)
        await eventually(lambda: '"ledger_waits"' in system.log("ingress"), timeout=60)
        assert len(told) < len(sent)
        await asyncio.to_thread(system.database.start)
        await eventually(lambda: receiving.done() or set(told) == sent, timeout=120)
        assert not receiving.done(), receiving.exception()
        await eventually(lambda: '"ledger_is_back"' in system.log("ingress"), timeout=10)
    finally:
        receiving.cancel()
        await wire.close()
    return told, connected


def _image(number: int) -> ImageGenerationRequested:
    return ImageGenerationRequested(
        event_id=uuid4(),
        user_id=f"user-{number % 7}",
        requested_at=datetime.now(UTC),
        prompt=f"Ripple {number}",
        size="64x64",
        backend="local",
    )
