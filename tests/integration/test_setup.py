"""`headrace setup` on real servers."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import Schedule, ScheduleActionStartWorkflow, ScheduleOverlapPolicy, ScheduleSpec

from headrace import kafka, s3, setup, temporal
from headrace.cli.main import main
from headrace.errors import SetupError
from headrace.registry import Registry
from headrace.schedules import SCHEDULES, upsert
from headrace.search_attributes import SEARCH_ATTRIBUTES
from headrace.settings import Settings, SettingsError
from headrace.store import migrate
from headrace.store.engine import engine
from schemas.codec import Schema
from schemas.routes import load_routes
from tests.support.eventually import eventually
from tests.support.registry import Apicurio
from tests.support.temporal_namespace import in_namespace_of_its_own

CLOSED = "127.0.0.1:1"


async def _topics(settings: Settings) -> dict[str, int]:
    """Partitions by topic, of this test."""
    admin = kafka.admin(settings)
    await admin.start()
    found = {each["topic"]: len(each["partitions"]) for each in await admin.describe_topics()}
    await admin.close()
    return {name.removeprefix(settings.topic_prefix): number for name, number in found.items() if name.startswith(settings.topic_prefix)}


async def _told(settings: Settings, number: int) -> dict[str, int]:
    """The same when there are so many: the broker tells of a new topic a moment after it has acknowledged it."""

    async def all_there() -> dict[str, int]:
        found = await _topics(settings)
        return found if len(found) == number else {}

    return await eventually(all_there)


async def _config(settings: Settings, topic: str) -> dict[str, str]:
    admin = kafka.admin(settings)
    await admin.start()
    (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, settings.topic_prefix + topic)])
    await admin.close()
    entries: list[Any] = answer.resources[0][4]
    return {entry[0]: entry[1] for entry in entries}


async def test_setup_makes_what_is_missing_and_a_second_one_changes_nothing(settings: Settings, tmp_path: Path) -> None:
    settings = await in_namespace_of_its_own(settings)
    settings = settings.model_copy(update={"database_url": f"sqlite+aiosqlite:///{tmp_path}/new/folder/headrace.db", "routes_file": None})
    lines: list[str] = []
    await setup.run(settings, lines.append)

    domains = load_routes().domains()
    dlqs = [*(f"{domain}.requests.dlq" for domain in domains), "workflow.commands.dlq"]
    topics = [*(f"{domain}.{kind}" for domain in domains for kind in ("requests", "completions")), "workflow.commands", "history"]
    assert await _told(settings, len([*topics, *dlqs])) == dict.fromkeys([*topics, *dlqs], 6)
    for topic in dlqs:
        dead_letters = await _config(settings, topic)
        assert dead_letters["max.message.bytes"] == str(kafka.MAX_RECORD_BYTES)
        assert dead_letters["retention.ms"] == "-1"
        assert dead_letters["message.timestamp.after.max.ms"] == str(2**63 - 1)
    database = engine(settings.database_url)
    assert await migrate.current(database) == migrate.newest()
    await database.dispose()
    client = s3.client(settings)
    client.head_bucket(Bucket=settings.s3_bucket)
    client.close()
    connected = await temporal.connect(settings)
    assert (await connected.count_workflows("EventId = 'a' AND UserId = 'b' AND EventType = 'c'")).count == 0
    assert len(lines) == len([*topics, *dlqs, "tables", "bucket", *SEARCH_ATTRIBUTES, *SCHEDULES])
    assert [line for line in lines if "made" not in line] == []

    again: list[str] = []
    await setup.run(settings, again.append)
    assert [line.split(":")[0] for line in again] == [line.split(":")[0] for line in lines]
    assert [line for line in again if not line.endswith("there")] == []


async def test_the_daily_maintenance_is_made_once_and_brought_up_to_date(settings: Settings) -> None:
    settings = await in_namespace_of_its_own(settings)
    client = await temporal.connect(settings)
    wanted = SCHEDULES["daily-maintenance"]
    older = Schedule(action=wanted.action, spec=ScheduleSpec(cron_expressions=["0 5 * * *"]))
    assert await upsert(client, "daily-maintenance", older)
    before = (await client.get_schedule_handle("daily-maintenance").describe()).info.next_action_times[0]
    assert (before.hour, before.minute) == (5, 0)

    await setup.run(settings, lambda _: None)
    described = await client.get_schedule_handle("daily-maintenance").describe()
    action, (first, second, *_) = described.schedule.action, described.info.next_action_times
    assert isinstance(action, ScheduleActionStartWorkflow)
    assert (action.workflow, action.id, action.task_queue) == ("MaintenanceWorkflow", "maintenance", "project-ai-scheduled")
    assert (first.hour, first.minute, second - first) == (2, 0, timedelta(days=1))
    assert described.schedule.policy.overlap == ScheduleOverlapPolicy.SKIP
    assert sorted([each.id async for each in await client.list_schedules()]) == sorted(SCHEDULES)


async def test_a_schedule_that_an_operator_has_paused_stays_paused(settings: Settings) -> None:
    settings = await in_namespace_of_its_own(settings)
    await setup.run(settings, lambda _: None)
    handle = (await temporal.connect(settings)).get_schedule_handle("daily-maintenance")
    assert not (await handle.describe()).schedule.state.paused
    await handle.pause(note="the bucket is being moved")
    lines: list[str] = []
    await setup.run(settings, lines.append)
    state = (await handle.describe()).schedule.state
    assert (state.paused, state.note) == (True, "the bucket is being moved")
    assert "schedule daily-maintenance: there" in lines


async def test_two_setups_at_once_do_not_break_each_other(settings: Settings) -> None:
    settings = await in_namespace_of_its_own(settings)
    await asyncio.gather(*(setup.run(settings, lambda _: None) for _ in range(3)))


async def test_existing_topic_is_kept_as_it_is(settings: Settings) -> None:
    admin = kafka.admin(settings)
    await admin.start()
    await admin.create_topics([NewTopic(name=f"{settings.topic_prefix}history", num_partitions=2, replication_factor=1)])
    await admin.close()
    lines: list[str] = []
    await setup._topics(settings, load_routes(settings.routes_file), lines.append)
    assert (await _told(settings, len(lines)))["history"] == 2
    assert f"topic {settings.topic_prefix}history: there" in lines


async def test_topic_that_kafka_refuses_is_named(settings: Settings) -> None:
    with pytest.raises(SetupError, match=r"does not make the topic no good/\w+\.requests: InvalidTopicError"):
        await setup.run(settings.model_copy(update={"topic_prefix": "no good/"}), lambda _: None)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"kafka_bootstrap_servers": CLOSED}, rf"Kafka \({CLOSED}\) cannot be set up: .*HEADRACE_KAFKA_BOOTSTRAP_SERVERS"),
        ({"temporal_address": CLOSED}, rf"Temporal \({CLOSED}\) cannot be set up: .*TEMPORAL_ADDRESS"),
        (
            {"s3_endpoint_url": f"http://{CLOSED}"},
            rf"The bucket \w+ at S3 \(http://{CLOSED}\) cannot be set up: .*HEADRACE_S3_ENDPOINT_URL",
        ),
        (
            {"database_url": f"postgresql+asyncpg://me:hidden@{CLOSED}/x"},
            rf"The database \(postgresql\+asyncpg://me:\*\*\*@{CLOSED}/x\) cannot be set up: .*HEADRACE_DATABASE_URL",
        ),
        (
            {"database_url": "sqlite+aiosqlite:////proc/nowhere/x.db"},
            r"The database \(sqlite.*\) cannot be set up: .*HEADRACE_DATABASE_URL",
        ),
    ],
)
async def test_part_that_is_away_is_named_with_its_address_and_setting(settings: Settings, fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises((SetupError, SettingsError), match=sentence) as caught:
        await setup.run(settings.model_copy(update=fields), lambda _: None)
    assert "hidden" not in str(caught.value)


async def test_a_database_url_that_is_none_is_a_wrong_setting(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="HEADRACE_DATABASE_URL cannot be used"):
        await setup.run(settings.model_copy(update={"database_url": "nonsense"}), lambda _: None)


async def test_search_attribute_of_another_type_is_told(settings: Settings) -> None:
    settings = await in_namespace_of_its_own(settings)
    client = await temporal.connect(settings)
    await client.operator_service.add_search_attributes(
        AddSearchAttributesRequest(namespace=client.namespace, search_attributes={"UserId": IndexedValueType.INDEXED_VALUE_TYPE_INT})
    )
    with pytest.raises(SetupError, match=r"search attribute UserId that is no Keyword: .*--name UserId"):
        await setup.run(settings, lambda _: None)


@pytest.mark.timeout(600)  # the first run fetches 158 MB
async def test_a_registry_that_is_away_ends_the_command_with_4_and_one_that_refuses_with_1(
    settings: Settings,
    stack_environment: dict[str, str],
    apicurio: Apicurio,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A registry that is away, one that has what does not fit, and one that takes everything."""
    for name, value in {**stack_environment, "HEADRACE_STATE_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    for field in ("topic_prefix", "s3_bucket", "database_url", "routes_file"):
        monkeypatch.setenv(f"HEADRACE_{field.upper()}", str(getattr(settings, field)))

    async def end(url: str) -> tuple[int, str]:
        monkeypatch.setenv("HEADRACE_SCHEMA_REGISTRY_URL", url)
        code = await asyncio.to_thread(main, ["setup"])
        said = capsys.readouterr()
        assert "hunter2" not in said.out + said.err
        return int(code), said.out + said.err

    subject = f"{settings.topic_prefix}history-headrace.history.HistoryRecorded"
    code, said = await end(f"http://me:hunter2@{CLOSED}/registry")
    assert code == 4
    assert f"The schema registry (http://{CLOSED}/registry) cannot be set up" in said
    registry = Registry(apicurio.url)
    theirs = Schema('{"type": "record", "name": "HistoryRecorded", "namespace": "headrace.history", "fields": []}')
    await registry.add(subject, theirs)
    code, said = await end(apicurio.url)
    assert code == 1
    assert f"{subject}: headrace.history.HistoryRecorded is not FULL_TRANSITIVE with version 1 there" in said
    async with httpx.AsyncClient(base_url=apicurio.url) as http:
        (await http.delete(f"/subjects/{subject}")).raise_for_status()
    code, said = await end(apicurio.url)
    assert code == 0
    assert f"schema {subject}: made, ID" in said
    assert await registry.level(subject) == "FULL_TRANSITIVE"
    await registry.close()
