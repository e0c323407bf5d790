"""What an operator sees of an ingress: `/healthz`, `/readyz`, `/metrics`, and one line in the log for each record."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from headrace import kafka, setup
from headrace.settings import Settings
from schemas.topics import Topics
from tests.faults.members import Member, Members, environment
from tests.support import ingress
from tests.support.eventually import eventually
from tests.support.ingress import REQUESTED, fields, framed

SECRET = "a prompt that nobody else may read"
KEY = b"a key that is somebody's name"


@pytest_asyncio.fixture
async def member(settings: Settings, tmp_path: Path) -> AsyncIterator[tuple[Settings, Member]]:
    """A real ingress process that has read three records: a good one, its duplicate, and one that is bad."""
    await setup.run(settings, lambda _: None)
    members = Members(
        tmp_path,
        environment(
            {
                "HEADRACE_STATE_DIR": str(tmp_path),
                "HEADRACE_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
                "HEADRACE_TOPIC_PREFIX": settings.topic_prefix,
                "HEADRACE_INGRESS_GROUP": settings.ingress_group,
                "HEADRACE_DATABASE_URL": settings.database_url,
                "TEMPORAL_ADDRESS": settings.temporal_address,
            }
        ),
    )
    good = framed(fields(event_id=uuid4(), prompt=SECRET))
    async with kafka.producer(settings, idempotent=True) as producer:
        for value in (good, good, SECRET.encode()):
            await producer.send_and_wait(Topics(settings.topic_prefix).requests("image"), value, key=KEY, partition=0)
    started = await members.start()

    async def committed() -> bool:
        return await ingress.lag(settings) == 0

    await eventually(committed, timeout=60)
    yield settings, started
    await members.leave_all()
    assert not started.ending


async def get(member: Member, path: str) -> httpx.Response:
    [port] = [line["port"] for line in member.lines() if line.get("event") == "health_served"]
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(f"http://127.0.0.1:{port}{path}")


async def test_every_figure_of_an_ingress_is_there(member: tuple[Settings, Member]) -> None:
    settings, process = member
    topic = Topics(settings.topic_prefix).requests("image")
    assert (await get(process, "/healthz")).status_code == 200
    assert (await get(process, "/readyz")).status_code == 200

    async def figures() -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        text = (await get(process, "/metrics")).text
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    async def measured() -> bool:  # what is in flight is measured twice a second
        return ("headrace_ingress_lag_records", frozenset({"topic": topic, "partition": "0"}.items())) in await figures()

    await eventually(measured)
    found = await figures()

    def value(name: str, **labels: str) -> float:
        return found[name, frozenset(labels.items())]

    assert value("headrace_ingress_records_total", topic=topic, route=REQUESTED, disposition="started") == 1
    assert value("headrace_ingress_records_total", topic=topic, route=REQUESTED, disposition="duplicate") == 1
    assert value("headrace_ingress_records_total", topic=topic, route=topic, disposition="dead_lettered") == 1
    assert value("headrace_ingress_dead_letters_total", topic=topic, reason="undecodable") == 1
    for name in ("lag_records", "lag_seconds", "commit_gap"):
        assert value(f"headrace_ingress_{name}", topic=topic, partition="0") == 0, name
    assert value("headrace_ingress_in_flight") == 0
    assert value("headrace_ingress_in_flight_bytes") == 0
    assert value("headrace_ingress_start_limit") >= 4
    assert value("headrace_ingress_start_seconds_count") >= 1
    assert value("headrace_ingress_ledger_claims_total") == 2
    assert value("headrace_ingress_ledger_hits_total") == 1
    assert value("headrace_ingress_ledger_healthy") == 1
    assert value("headrace_ingress_repeated_starts_total") <= 1
    assert value("headrace_ingress_rebalances_total") >= 1
    assert not [name for name, _ in found if name == "headrace_ingress_route_stopped"], "no breaker has tripped"


async def test_one_line_for_each_record_and_no_payload_in_any(member: tuple[Settings, Member]) -> None:
    _, process = member
    told = [line for line in process.lines() if line.get("event") == "record_disposed"]
    assert sorted((line["partition"], line["offset"], line["disposition"], line["level"]) for line in told) == [
        (0, 0, "started", "info"),
        (0, 1, "duplicate", "info"),
        (0, 2, "dead_lettered", "info"),
    ]
    text = process.log.read_text("utf-8")
    assert SECRET not in text
    assert KEY.decode() not in text
