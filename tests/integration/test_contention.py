"""Two ingress processes that handle the same records, on SQLite and on PostgreSQL; and processes that die with a claim in their hands."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from headrace import kafka, setup, temporal
from headrace.settings import Settings
from ingress.ledger import Claim, Ledger
from schemas.topics import Topics
from tests.faults.history import Place
from tests.faults.members import Members, environment
from tests.support import ingress
from tests.support.eventually import eventually
from tests.support.ingress import fields, framed
from tests.support.temporal_namespace import in_namespace_of_its_own
from tests.support.temporal_proxy import START, Answer, TemporalProxy

EVENTS = 60
_HELD_SECONDS = 120.0


def _members(settings: Settings, folder: Path, group: str, temporal_address: str) -> Members:
    folder.mkdir(exist_ok=True)
    given = {
        "HEADRACE_STATE_DIR": str(folder),
        "HEADRACE_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "HEADRACE_TOPIC_PREFIX": settings.topic_prefix,
        "HEADRACE_INGRESS_GROUP": group,
        "HEADRACE_INGRESS_START_SECONDS": str(_HELD_SECONDS),
        "HEADRACE_DATABASE_URL": settings.database_url,
        "TEMPORAL_ADDRESS": temporal_address,
        "TEMPORAL_NAMESPACE": settings.temporal_namespace,
    }
    return Members(folder, environment(given))


async def _ready(settings: Settings, database_url: str) -> Settings:
    changed = await in_namespace_of_its_own(settings.model_copy(update={"database_url": database_url}))
    await setup.run(changed, lambda _: None)
    return changed


async def _send_twice(settings: Settings) -> dict[UUID, set[int]]:
    """Events, each on two partitions that differ."""
    topic, sent = Topics(settings.topic_prefix).requests("image"), {}
    async with kafka.producer(settings, idempotent=True) as producer:
        for number in range(EVENTS):
            event_id, partitions = uuid4(), {number % 6, (number + 1 + number % 5) % 6}
            value = framed(fields(event_id=event_id))
            for partition in partitions:
                await producer.send_and_wait(topic, value, partition=partition)
            sent[event_id] = partitions
    return sent


async def _group_is_through(settings: Settings, group: str) -> bool:
    return await ingress.lag(settings.model_copy(update={"ingress_group": group})) == 0


async def _has_started(settings: Settings, number: int) -> bool:
    client = await temporal.connect(settings)
    return (await client.count_workflows("WorkflowType = 'ImageGenerationWorkflow'")).count == number


async def _each_event_has_one_run(settings: Settings, sent: dict[UUID, set[int]]) -> None:
    rows = await ingress.ledger(settings)
    assert {row.event_id for row in rows} == set(sent)
    assert len(rows) == len(sent)
    assert {row.disposition for row in rows} == {"started"}
    client = await temporal.connect(settings)
    described = await asyncio.gather(*(client.get_workflow_handle(row.workflow_id).describe() for row in rows))
    assert [each.run_id for each in described] == [row.run_id for row in rows]
    await eventually(lambda: _has_started(settings, len(sent)), timeout=30)
    assert not await ingress.read_all(settings, Topics(settings.topic_prefix).requests("image") + ".dlq")


@pytest.mark.timeout(180)
async def test_two_processes_that_both_read_every_record_start_each_event_once(
    settings: Settings, database_url: str, tmp_path: Path
) -> None:
    """Two groups, as somebody who has renamed one has for a while: every record is handled twice, every event four times."""
    settings = await _ready(settings, database_url)
    groups = [f"{settings.ingress_group}-{name}" for name in ("one", "two")]
    both = [_members(settings, tmp_path / group, group, settings.temporal_address) for group in groups]
    async with AsyncExitStack() as opened:
        for members in both:
            opened.push_async_callback(members.leave_all)
        running = [await members.start() for members in both]
        for member in running:
            await eventually(lambda: member.has_said("partitions_assigned"), timeout=60)  # noqa: B023 - awaited here
        sent = await _send_twice(settings)
        for group in groups:
            await eventually(lambda: _group_is_through(settings, group), timeout=60, interval=0.3)  # noqa: B023 - as above
    assert [member.ending for member in running] == ["", ""]
    await _each_event_has_one_run(settings, sent)
    owners = {Place(row.topic, row.partition, row.offset) for row in await ingress.ledger(settings)}
    for member in running:
        told = dict(member.told())
        # The record that was first is the event's own in both groups, the other one is a duplicate in both.
        assert {place for place, word in told.items() if word == "started"} == owners
        assert Counter(told.values()) == {"started": EVENTS, "duplicate": EVENTS}


@pytest.mark.timeout(180)
async def test_events_whose_claimant_is_killed_are_started_once_by_another(settings: Settings, database_url: str, tmp_path: Path) -> None:
    settings = await _ready(settings, database_url)
    group = settings.ingress_group
    async with TemporalProxy(lambda: settings.temporal_address) as proxy, AsyncExitStack() as opened:
        # The first has claimed, and its starts never come to an end.
        proxy.decide = lambda method, _: Answer("UNAVAILABLE", late=_HELD_SECONDS) if method == START else None
        stuck = _members(settings, tmp_path / "stuck", group, f"127.0.0.1:{proxy.port}")
        other = _members(settings, tmp_path / "other", f"{group}-other", settings.temporal_address)
        for members in (stuck, other):
            opened.push_async_callback(members.leave_all)
        first = await stuck.start()
        sent = await _send_twice(settings)

        async def all_claimed() -> bool:
            return {row.disposition for row in await ingress.ledger(settings)} == {"pending"} and len(proxy.calls) > 0

        await eventually(all_claimed, timeout=60, interval=0.2)
        second = await other.start()
        await eventually(lambda: _group_is_through(settings, f"{group}-other"), timeout=60, interval=0.3)
        await stuck.kill(first)
        third = await _members(settings, tmp_path / "third", group, settings.temporal_address).start()
        try:
            await eventually(lambda: _group_is_through(settings, group), timeout=60, interval=0.3)
        finally:
            third.signal(signal.SIGTERM)
            await third.process.wait()
    assert second.ending == ""
    await _each_event_has_one_run(settings, sent)


async def test_a_claim_of_a_process_that_dies_before_it_commits_holds_nobody(store: AsyncEngine, database_url: str) -> None:
    claim = Claim(uuid4(), "headrace.image.ImageGenerationRequested", bytes(32), "image.requests", 0, 1)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.claiming", database_url, str(claim.event_id)), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), 60) == b"claimed\n"
        async with Ledger(store) as ledger:
            waiting = asyncio.create_task(ledger.claim(claim))
            await eventually(lambda: not ledger.healthy)
            assert not waiting.done()
            process.kill()
            entry = await asyncio.wait_for(waiting, 30)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
    assert (entry.offset, entry.disposition) == (1, "pending")
