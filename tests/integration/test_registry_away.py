"""A registry that is away holds back what needs it, and nothing else; an ID that it does not know is permanent once it has said so."""

from __future__ import annotations

from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest_asyncio

from headrace import kafka, setup
from headrace.registry import Registry
from headrace.settings import Settings
from headrace.wire import Wire
from ingress import metrics
from schemas.topics import Topics
from tests.support import ingress
from tests.support.eventually import eventually
from tests.support.ingress import CATALOG, REQUESTED, fields, framed
from tests.support.references import put, refer
from tests.support.registry import Apicurio
from tests.support.tcp_proxy import TcpProxy


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
        behind = ready.model_copy(update={"schema_registry_url": f"http://127.0.0.1:{proxy.port}{address.path}"})
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
        behind = ready.model_copy(update={"schema_registry_url": f"http://127.0.0.1:{proxy.port}{address.path}"})
        waits = metrics.TRANSIENT.labels(Topics(ready.topic_prefix).requests("image"))
        async with ingress.running(behind):
            await eventually(lambda: waits._value.get() > 1, timeout=30)
            assert await ingress.lag(ready) == 1
            proxy.heal()
            await eventually(lambda: _started(ready, {event_id}), timeout=30)


async def _started(settings: Settings, event_ids: set[UUID]) -> bool:
    rows = await ingress.ledger(settings)
    return event_ids <= {row.event_id for row in rows if row.disposition == "started"}
