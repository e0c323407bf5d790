"""A secret is planted in every setting that is one; then everything that Headrace says is looked through for them."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from temporalio.api.failure.v1 import Failure
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DefaultFailureConverter
from temporalio.exceptions import ApplicationError

from headrace import kafka, s3, temporal
from headrace.settings import Settings, load
from headrace.store.engine import engine
from tests.support.commands import Commands, commands
from tests.support.eventually import eventually
from tests.support.ingress import fields, framed, read_all
from tests.support.planted import assert_nowhere, command_line, secret_settings
from tests.support.registry import Apicurio
from tests.support.secret_world import World, program, secret_world
from tests.support.temporal_namespace import in_namespace_of_its_own
from workers.image.storage import S3Images
from workers.learning.models import ResourceQuery
from workers.learning.search import HttpResources
from workers.learning.storage import SqlPaths

SERVICES = ("ingress", "workers", "notifier")
IMAGE = {"user_id": "ada", "prompt": "A mill", "size": "1024x1024"}
REQUESTS: dict[str, list[dict[str, Any]]] = {
    "ImageGenerationRequested": [{**IMAGE, "backend": backend} for backend in ("local", "openai", "huggingface")],
    "LearningPathRequested": [
        {"user_id": "ada", "category": "statistics", "skill_level": "beginner", "time_commitment_hours": 4, "learning_style": "balanced"}
    ],
    "DataAnalysisRequested": [{"user_id": "ada", "file_path": "s3://headrace/uploads/ada/none.csv", "file_type": "csv"}],
}


@dataclass
class Heard:
    """All that was said, and by whom."""

    folder: Path
    shell: Commands
    texts: list[tuple[str, str]] = field(default_factory=list)

    def keep(self, where: str, text: str) -> None:
        self.texts.append((where, text))

    async def headrace(self, *words: str, code: int | None = None, **changed: str) -> str:
        """A command; what it says is kept."""
        ended, out, err = await self.shell.run(words, changed)
        assert ended >= 0, err[-3000:]
        assert code is None or ended == code, f"{words}: {out[-2000:]}{err[-2000:]}"
        self.keep(" ".join(("headrace", *words)), f"exit {ended}\n{out}\n{err}")
        return out

    def logs(self) -> list[tuple[str, str]]:
        return [(log.name, log.read_text("utf-8", "replace")) for log in sorted(self.folder.glob("*.log"))]


@pytest_asyncio.fixture(scope="module")
async def world(
    stack_environment: dict[str, str], apicurio: Apicurio, postgres_server: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    given = {key.lower().removeprefix("headrace_"): value for key, value in stack_environment.items()}
    name = f"t{uuid4().hex[:12]}"
    own = await in_namespace_of_its_own(Settings.model_validate({**given, "ingress_group": name, "s3_bucket": name}))
    async with secret_world(own, apicurio.url, postgres_server, tmp_path_factory.mktemp("secrets")) as made:
        yield made


def live_in(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for name in [name for name in os.environ if name.startswith(("HEADRACE_", "TEMPORAL_", "OTEL_", "OPENAI_", "HF_"))]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.mark.timeout(300)
async def test_no_secret_is_seen_where_everything_works_and_services_of_others_refuse(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live_in(monkeypatch, world.right)
    settings = load()
    assert {name for name in secret_settings() if getattr(settings, name) is not None} == secret_settings() - {"payload_keys"}
    client = await temporal.connect(settings)
    async with AsyncExitStack() as running:
        heard = Heard(tmp_path, await running.enter_async_context(commands(world.right)))
        await heard.headrace("setup", code=0)
        processes = {name: await running.enter_async_context(program(world.right, heard.folder / f"{name}.log", name)) for name in SERVICES}
        event_ids = await _requested(heard)
        await _send_bad(settings)
        done = await eventually(lambda: _completed(heard, event_ids), timeout=120, interval=1)
        assert {done[event_id]["status"] for event_id in event_ids} == {"SUCCEEDED", "FAILED"}
        codes = [done[event_id]["error"]["code"] for event_id in event_ids if done[event_id]["error"]]
        assert codes.count("BackendCredentialsRefused") >= 2, done
        for name, process in processes.items():
            heard.keep(f"the command line of {name}", command_line(process.pid))
            await _ask_health(heard, name)
        await _look(heard, event_ids[1])
        taken = _port_of(heard.folder / "ingress.log")
        crash = heard.folder / "crash.log"
        async with program({**world.right, "HEADRACE_HEALTH_PORT": taken}, crash, "notifier") as crashed:
            assert await asyncio.wait_for(crashed.wait(), 60) == 1
    assert "Traceback" in crash.read_text()
    await _keep_records(heard, settings)
    await _keep_histories(heard, client)
    assert_nowhere(world.planted, [*heard.texts, *heard.logs()])


async def _requested(heard: Heard) -> list[str]:
    event_ids = []
    for record, requests in REQUESTS.items():
        file = heard.folder / f"{record}.jsonl"
        file.write_text("\n".join(map(json.dumps, requests)))
        event_ids += (await heard.headrace("produce", record, "--json", str(file), code=0)).split()
    return event_ids


async def _send_bad(settings: Settings) -> None:
    """Bytes that are no record, and a request that is refused."""
    async with kafka.producer(settings, idempotent=False) as producer:
        await producer.send_and_wait("image.requests", b"no record")
        await producer.send_and_wait("image.requests", framed(fields(event_id=uuid4(), prompt="")))


async def _completed(heard: Heard, event_ids: list[str]) -> dict[str, Any] | None:
    told = [json.loads(line) for line in (await heard.headrace("completions", "--json", code=0)).splitlines()]
    done = {each["event_id"]: each for each in told}
    return done if set(event_ids) <= done.keys() and len(done) > len(event_ids) else None


def _port_of(log: Path) -> str:
    served = next(json.loads(line) for line in log.read_text().splitlines() if '"health_served"' in line)
    return str(served["port"])


async def _ask_health(heard: Heard, name: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        for path in ("healthz", "readyz", "metrics"):
            answer = await http.get(f"http://127.0.0.1:{_port_of(heard.folder / f'{name}.log')}/{path}")
            heard.keep(f"/{path} of {name}", answer.text)


async def _look(heard: Heard, event_id: str) -> None:
    """Every command that reads."""
    letters = [json.loads(line) for line in (await heard.headrace("dlq", "list", "--json", code=0)).splitlines()]
    assert {letter["reason"] for letter in letters} == {"undecodable", "invalid"}
    first = letters[0]
    await heard.headrace("dlq", "show", f"{first['topic']}:{first['partition']}:{first['offset']}", code=0)
    for words in (
        ("dlq", "list"),
        ("explain", event_id),
        ("completions", "image"),
        ("status",),
        ("doctor", "--json"),
        ("route", "list"),
        ("replay", "image.requests", "--from", "earliest", "--plan"),
        ("command", "cancel", event_id),
        ("dlq", "redrive", "--all", "--dry-run"),
    ):
        await heard.headrace(*words)


async def _keep_records(heard: Heard, settings: Settings) -> None:
    for topic in ("image.requests.dlq", "image.completions", "learning.completions", "analysis.completions", "history"):
        for record in await read_all(settings, topic):
            heard.keep(topic, f"{record.key!r} {record.value!r} {record.headers!r} {(record.value or b'').decode('latin-1')}")


async def _keep_histories(heard: Heard, client: Client) -> None:
    """Each run as it lies in Temporal: arguments, results, failures with their causes and traces."""
    assert client.data_converter.payload_codec is pydantic_data_converter.payload_codec
    count = 0
    async for run in client.list_workflows():
        history = await client.get_workflow_handle(run.id, run_id=run.run_id).fetch_history()
        text = "".join(event.SerializeToString().decode("latin-1") for event in history.events)
        heard.keep(f"the history of {run.id}", text)
        count += "BackendCredentialsRefused" in text
    assert count >= 2


@pytest.mark.timeout(300)
async def test_no_secret_is_seen_where_every_part_refuses_it(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    live_in(monkeypatch, {})
    codec = ("headrace.codec_server", "--port", "0")
    request = tmp_path / "image.jsonl"
    request.write_text(json.dumps({**IMAGE, "backend": "local"}))
    event_id = str(uuid4())
    async with AsyncExitStack() as running:
        heard = Heard(tmp_path, await running.enter_async_context(commands(world.wrong)))
        for name in SERVICES:
            process = await running.enter_async_context(program(world.wrong, heard.folder / f"{name}.log", name))
            heard.keep(f"the command line of {name}", command_line(process.pid))
        await running.enter_async_context(program(world.wrong, heard.folder / "codec.log", *codec))
        for words in (
            ("setup",),
            ("doctor", "--json"),
            ("produce", "ImageGenerationRequested", "--json", str(request)),
            ("completions", "image"),
            ("explain", event_id),
            ("dlq", "list"),
            ("dlq", "redrive", "--all"),
            ("route", "list"),
            ("replay", "image.requests", "--from", "earliest", "--plan"),
            ("status",),
        ):
            await heard.headrace(*words)
        # Further than Kafka, one part after the other; and tokens instead of a password.
        kafka_too = [f"HEADRACE_KAFKA_{name}" for name in ("SASL_PASSWORD", "SSL_KEY_PASSWORD", "SSL_CERTIFICATE_FILE", "SSL_KEY_FILE")]
        await heard.headrace("setup", code=1, **{variable: _right(world, variable) for variable in kafka_too})  # the registry refuses
        await heard.headrace("produce", "ImageGenerationRequested", "--json", str(request), code=4)
        for variable in ("HEADRACE_SCHEMA_REGISTRY_URL", "HEADRACE_DATABASE_URL", "HEADRACE_S3_SECRET_ACCESS_KEY"):
            await heard.headrace("setup", code=4, **{variable: _right(world, variable)})
        await heard.headrace("completions", "image", code=4, **world.oauth)
        await heard.headrace("explain", event_id, HEADRACE_PAYLOAD_KEYS=world.refused.secret("payload_keys"))
        logs = [heard.folder / f"{name}.log" for name in SERVICES]
        await eventually(lambda: all("waiting_for" in log.read_text() for log in logs), timeout=60)
        address = await eventually(lambda: (heard.folder / "codec.log").read_text().strip(), timeout=60)
        async with httpx.AsyncClient(trust_env=False) as http:
            for body in ("junk", '{"payloads": [{"metadata": {"encoding": "YmluYXJ5L2VuY3J5cHRlZA=="}, "data": "AAAA"}]}'):
                heard.keep("the codec server", (await http.post(f"{address}/decode", content=body)).text)
    assert_nowhere(world.refused, [*heard.texts, *heard.logs()])
    assert_nowhere(world.planted, [*heard.texts, *heard.logs()])


def _right(world: World, variable: str) -> str:
    file = Path(world.right["HEADRACE_SECRETS_DIR"]) / variable.lower()
    return file.read_text().strip() if file.exists() else world.right[variable]


async def test_a_step_whose_part_refuses_its_key_tells_temporal_nothing_of_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Temporal is given of an error: its message, the errors behind it and their traces."""
    live_in(monkeypatch, world.wrong)
    settings = load()
    client, database = s3.client(settings), engine(settings.database_url)
    query = ResourceQuery(category="statistics", topic="means", difficulty="beginner", learning_style="balanced")
    async with httpx.AsyncClient() as http:
        steps: dict[str, Awaitable[object]] = {
            "S3": S3Images(client, settings.s3_bucket, 60).put("images/x.png", b"x", "image/png", "0" * 64),
            "the database": SqlPaths(database).earlier("ada", "statistics", but=uuid4()),
            "the search": HttpResources(http, settings.learning_resources_url or "").find(query),
        }
        told = []
        for name, step in steps.items():
            with pytest.raises(ApplicationError) as raised:
                await step
            failure = Failure()
            DefaultFailureConverter().to_failure(raised.value, pydantic_data_converter.payload_converter, failure)
            told.append((name, str(failure)))
    client.close()
    await database.dispose()
    assert_nowhere(world.refused, told)
