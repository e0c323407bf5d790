"""A registry that is away holds back what needs it, and nothing else; an ID that it does not know is permanent once it has said so."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from prometheus_client import REGISTRY
from pydantic import SecretStr
from structlog.testing import capture_logs

from headrace import kafka, setup
from headrace.registry import Registry
from headrace.settings import Settings
from headrace.wire import Wire
from ingress import metrics
from schemas import codec
from schemas.catalog import AVRO
from schemas.codec import Schema
from schemas.topics import Topics
from tests.support import ingress
from tests.support.eventually import eventually
from tests.support.ingress import CATALOG, IMAGE_ROUTES, REQUESTED, fields, framed
from tests.support.references import put, refer
from tests.support.registry import READER, WRITER, Apicurio
from tests.support.registry_door import door
from tests.support.tcp_proxy import TcpProxy
from tests.support.transaction_runs import purchase_of

pytestmark = pytest.mark.timeout(600)  # the first run fetches 158 MB

PURCHASE = "headrace.transaction.TransactionRequested"


@pytest_asyncio.fixture
async def ready(settings: Settings) -> Settings:
    await setup.run(settings, lambda _: None)
    return settings


async def confluent(apicurio: Apicurio, settings: Settings, event_id: UUID) -> bytes:
    registry = Registry(apicurio.url)
    try:
        return await Wire(CATALOG, registry).encode(Topics(settings.topic_prefix).requests("image"), REQUESTED, fields(event_id=event_id))
    finally:
        await registry.close()


async def test_a_registry_that_is_away_holds_back_only_what_needs_it(ready: Settings, apicurio: Apicurio) -> None:
    topic = Topics(ready.topic_prefix).requests("image")
    address = urlsplit(apicurio.url)
    first, second, other = uuid4(), uuid4(), uuid4()
    async with TcpProxy.to_address(lambda: f"{address.hostname}:{address.port}") as proxy:
        proxy.mode = "refuse"
        behind = with_url(ready, f"http://127.0.0.1:{proxy.port}{address.path}")
        async with kafka.producer(ready, idempotent=True) as producer:
            await producer.send_and_wait(topic, await confluent(apicurio, ready, first), key=b"waits", partition=0)
            # Readable without the registry, but of the same key: it must not overtake.
            await producer.send_and_wait(topic, framed(fields(event_id=second)), key=b"waits", partition=0)
            await producer.send_and_wait(topic, framed(fields(event_id=other)), key=b"other", partition=0)
            await producer.send_and_wait(topic, b"\x00\x7f\x00\x00\x01body", key=b"nobody", partition=1)
        async with ingress.running(behind):
            await eventually(lambda: _started(ready, {other}), timeout=30)
            assert not await _started(ready, {second})
            assert await ingress.lag(ready) == 4
            assert not await ingress.read_all(ready, f"{topic}.dlq"), "nobody has said that the ID is unknown"
            proxy.heal()
            await eventually(lambda: _started(ready, {first, second, other}), timeout=30)

            async def committed() -> bool:
                return await ingress.lag(ready) == 0

            await eventually(committed, timeout=30)
    [letter] = await ingress.read_all(ready, f"{topic}.dlq")
    assert dict(letter.headers)["dlq_reason"] == b"unknown_schema"


async def test_a_reference_in_the_frame_of_the_registry_waits_for_it_and_is_read(ready: Settings, apicurio: Apicurio) -> None:
    address, event_id = urlsplit(apicurio.url), uuid4()
    await refer(ready, await put(ready, await confluent(apicurio, ready, event_id)))
    async with TcpProxy.to_address(lambda: f"{address.hostname}:{address.port}") as proxy:
        proxy.mode = "refuse"
        behind = with_url(ready, f"http://127.0.0.1:{proxy.port}{address.path}")
        waits = metrics.TRANSIENT.labels(Topics(ready.topic_prefix).requests("image"))
        async with ingress.running(behind):
            await eventually(lambda: waits._value.get() > 1, timeout=30)
            assert await ingress.lag(ready) == 1
            proxy.heal()
            await eventually(lambda: _started(ready, {event_id}), timeout=30)


async def test_records_of_every_route_wait_within_bounds_and_those_of_a_known_schema_go_on(
    settings: Settings, apicurio: Apicurio, tmp_path: Path
) -> None:
    settings = settings.model_copy(update={"routes_file": two_routes(tmp_path), "ingress_max_in_flight": 16})
    await setup.run(settings, lambda _: None)
    image, purchases = (Topics(settings.topic_prefix).requests(domain) for domain in ("image", "transaction"))
    known, new, other = [(await foreign(apicurio, record, n)) for n, record in enumerate((REQUESTED, REQUESTED, PURCHASE))]
    first, goes_on, buys = uuid4(), uuid4(), uuid4()
    wait = [uuid4() for _ in range(40)]
    address = urlsplit(apicurio.url)
    async with TcpProxy.to_address(lambda: f"{address.hostname}:{address.port}") as proxy, kafka.producer(settings, idempotent=True) as out:
        behind = with_url(settings, f"http://127.0.0.1:{proxy.port}{address.path}")
        async with ingress.running(behind):
            await out.send_and_wait(image, known(event_id=first), key=b"a", partition=0)
            await eventually(lambda: _started(settings, {first}), timeout=30)
            proxy.refuse()
            for number, event_id in enumerate(wait):
                await out.send_and_wait(image, new(event_id=event_id), key=b"%d" % number, partition=1)
            await out.send_and_wait(purchases, other(event_id=buys), key=b"a", partition=0)
            await out.send_and_wait(image, known(event_id=goes_on), key=b"a", partition=0)
            await eventually(lambda: _started(settings, {goes_on}), timeout=30)
            await eventually(lambda: in_flight() == 4 + 1, timeout=30)  # a quarter of the bound for a partition, and the purchase
            assert not {row.event_id for row in await ingress.ledger(settings)} & {buys, *wait}
            for topic in (image, purchases):
                assert not await ingress.read_all(settings, f"{topic}.dlq")
            proxy.heal()
            await eventually(lambda: _started(settings, {buys, *wait}), timeout=60)
            await eventually(lambda: in_flight() == 0, timeout=30)


async def test_each_process_asks_once_for_each_schema(ready: Settings, apicurio: Apicurio) -> None:
    topic = Topics(ready.topic_prefix).requests("image")
    some, others = await foreign(apicurio, REQUESTED, 3), await foreign(apicurio, REQUESTED, 4)
    async with door(apicurio.url) as guarded, kafka.producer(ready, idempotent=True) as out:
        behind = with_url(ready, guarded.url)
        sent: set[UUID] = set()
        for process in (1, 2):
            async with ingress.running(behind):
                for made in (some, others):
                    batch = [uuid4() for _ in range(50)]
                    await asyncio.gather(*(out.send_and_wait(topic, made(event_id=each), key=each.bytes) for each in batch))
                    sent |= {*batch}
                await eventually(partial(_started, ready, sent), timeout=60)
            assert sorted(guarded.asked) == sorted([f"GET /schemas/ids/{made.schema_id}" for made in (some, others)] * process)


async def test_a_wrong_secret_waits_and_is_told_without_it(ready: Settings, locked: Apicurio) -> None:
    topic = Topics(ready.topic_prefix).requests("image")
    made, event_id = await foreign(locked, REQUESTED, 5), uuid4()
    async with kafka.producer(ready, idempotent=True) as out:
        await out.send_and_wait(topic, made(event_id=event_id), key=b"k")
    with capture_logs() as logs:
        async with ingress.running(with_url(ready, locked.url_of("reader", "hunter2"))):
            await eventually(lambda: [log for log in logs if log["event"] == "record_waits"], timeout=30)
    [told, *_] = [log["error"] for log in logs if log["event"] == "record_waits"]
    assert f"{locked.url} answers 401" in told
    assert "check the key and secret in HEADRACE_SCHEMA_REGISTRY_URL" in told
    assert "hunter2" not in repr(logs)
    assert not await ingress.read_all(ready, f"{topic}.dlq")
    async with ingress.running(with_url(ready, locked.url_of(*READER))):
        await eventually(lambda: _started(ready, {event_id}), timeout=30)


@dataclass(frozen=True)
class Foreign:
    """A writer with a schema of its own: the record's, and a field that nobody here knows."""

    schema: Schema
    schema_id: int
    example: dict[str, Any]

    def __call__(self, *, event_id: UUID) -> bytes:
        return codec.frame_confluent(self.schema_id, codec.encode_body(self.schema, {**self.example, "event_id": event_id}))


async def foreign(apicurio: Apicurio, record: str, number: int) -> Foreign:
    schema = json.loads(CATALOG.named(record).text)
    schema["fields"].append({"name": f"theirs_{number}", "type": "string", "default": ""})
    made = Schema(json.dumps(schema))
    registry = Registry(apicurio.url_of(*WRITER) if apicurio.authority else apicurio.url)
    try:
        schema_id = await registry.register(f"{uuid4()}-value", made)
    finally:
        await registry.close()
    return Foreign(made, schema_id, fields() if record == REQUESTED else purchase_of("ada").model_dump())


def with_url(settings: Settings, url: str) -> Settings:
    return settings.model_copy(update={"schema_registry_url": SecretStr(url)})


def two_routes(folder: Path) -> Path:
    file = folder / "routes.toml"
    purchases = f"""
[[route]]
record = "{PURCHASE}"
schema = "{AVRO}/transaction/TransactionRequested.avsc"
workflow = "TransactionalWorkflow"
task_queue = "project-ai-transaction"
"""
    file.write_text(f'include = ["{IMAGE_ROUTES}"]\n{purchases}', "utf-8")
    return file


def in_flight() -> float | None:
    return REGISTRY.get_sample_value("headrace_ingress_in_flight")


async def _started(settings: Settings, event_ids: set[UUID]) -> bool:
    rows = await ingress.ledger(settings)
    return event_ids <= {row.event_id for row in rows if row.disposition == "started"}
