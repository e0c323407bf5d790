"""Requests by reference on the real Kafka, S3 and Temporal: what is read, what is refused, what waits."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client
from temporalio.service import RPCError

from headrace import s3, setup, temporal
from headrace.completions import completions
from headrace.settings import Settings
from headrace.wire import Wire
from ingress import metrics
from ingress.decode import Event
from ingress.errors import StorageAway
from ingress.gate import Gate
from ingress.start import Sizes, Starter
from schemas.ids import workflow_id
from schemas.image import ImageGenerationRequested
from schemas.redrive import Selection
from schemas.routes import load_routes
from schemas.topics import Topics
from tests.support import ingress
from tests.support.dead_letters import carry_out, page, redriving
from tests.support.eventually import eventually
from tests.support.ingress import CATALOG, fields, framed
from tests.support.killable_s3 import killable
from tests.support.references import put, refer

ROOT = Path(__file__).parents[2]


@pytest_asyncio.fixture
async def ready(settings: Settings) -> Settings:
    await setup.run(settings, lambda _: None)
    return settings


@pytest.fixture
def blind(ready: Settings) -> Settings:
    """An ingress that cannot reach S3: what is disposed of here was not fetched."""
    return ready.model_copy(update={"s3_endpoint_url": "http://127.0.0.1:1"})


async def disposed(settings: Settings) -> None:
    async def all_of_them() -> bool:
        return await ingress.lag(settings) == 0

    await eventually(all_of_them, timeout=30)


async def dead(settings: Settings, topic: str | None = None) -> list[Any]:
    return await ingress.read_all(settings, f"{topic or Topics(settings.topic_prefix).requests('image')}.dlq")


async def rejected(settings: Settings) -> list[dict[str, Any]]:
    async with contextlib.aclosing(completions(settings, Wire(CATALOG), ["image"])) as found:
        return [each.completion async for each in found if each.completion["status"] == "REJECTED"]


async def is_started(client: Client, event_id: UUID) -> bool:
    return (await client.get_workflow_handle(workflow_id("image", event_id)).describe()).id == workflow_id("image", event_id)


async def test_an_event_by_value_and_by_reference_is_one_event_and_another_payload_a_conflict(ready: Settings) -> None:
    first, second = fields(), fields()
    changed = await put(ready, framed({**first, "prompt": "Another mill"}))
    await refer(ready, value=framed(first))
    await refer(ready, await put(ready, framed(first)))
    await refer(ready, await put(ready, framed(second)), value=None)
    await refer(ready, value=framed(second))
    await refer(ready, changed)
    async with ingress.running(ready):
        await disposed(ready)
    client = await temporal.connect(ready)
    assert all([await is_started(client, each["event_id"]) for each in (first, second)])
    assert [row.disposition for row in await ingress.ledger(ready)] == ["started", "started"]
    [conflict] = await dead(ready)
    headers = dict(conflict.headers)
    assert (headers["dlq_reason"], headers["ce_dataref"], conflict.value) == (b"id_conflict", changed.encode(), b"")
    [told] = await rejected(ready)
    assert (told["event_id"], told["error"]["code"]) == (first["event_id"], "id_conflict")


async def test_a_value_beside_a_reference_wins_and_nothing_is_fetched(blind: Settings) -> None:
    given = fields()
    await refer(blind, f"s3://{blind.s3_bucket}/requests/x", value=framed(given))
    async with ingress.running(blind):
        await disposed(blind)
    assert await is_started(await temporal.connect(blind), given["event_id"])


@pytest.mark.parametrize(
    "references",
    [
        ["http://127.0.0.1/requests/x"],
        ["file:///etc/passwd"],
        ["s3://another-bucket/requests/x"],
        ["s3://{bucket}-evil/requests/x"],
        ["s3://{bucket}/v0/ns/default/x"],
        ["s3://{bucket}/requests/../uploads/ada/x"],
        ["s3://{bucket}/requests/"],
        ["S3://{bucket}/requests/x"],
        ["s3://{bucket}/requests/x\x00"],
        ["s3://{bucket}/requests/" + "x" * 1100],
        [""],
        ["s3://{bucket}/requests/x", "s3://{bucket}/requests/y"],
    ],
)
async def test_no_other_place_is_read_whatever_a_sender_asks_for(blind: Settings, references: list[str]) -> None:
    sent = [each.format(bucket=blind.s3_bucket) for each in references]
    await refer(blind, *sent, sent=[("ce_type", b"x")])
    async with ingress.running(blind):
        await disposed(blind)
    [record] = await dead(blind)
    assert (record.value, record.key) == (b"", b"key")
    assert record.headers[: len(sent) + 1] == (("ce_type", b"x"), *(("ce_dataref", each.encode()) for each in sent))
    assert dict(record.headers)["dlq_reason"] == b"reference_refused"


async def test_a_command_by_reference_is_refused(blind: Settings) -> None:
    topic = Topics(blind.topic_prefix).commands
    await refer(blind, f"s3://{blind.s3_bucket}/requests/x", topic=topic)
    async with ingress.running(blind):

        async def buried() -> bool:
            return len(await dead(blind, topic)) == 1

        await eventually(buried, timeout=30)
    assert dict((await dead(blind, topic))[0].headers)["dlq_message"] == b"a command is sent by value, not by ce_dataref"


async def test_a_missing_a_large_and_an_unreadable_object_are_dead_lettered_each_with_its_reason(ready: Settings) -> None:
    limited = ready.model_copy(update={"ingress_max_bytes": 1024 * 1024})
    await refer(limited, f"s3://{limited.s3_bucket}/requests/never-written")
    await refer(limited, await put(limited, bytes(1024 * 1024 + 1)))
    await refer(limited, await put(limited, b"no Avro"))
    await refer(limited, await put(limited, b""))
    invalid = fields(prompt="")
    await refer(limited, await put(limited, framed(invalid)))
    async with ingress.running(limited):
        await disposed(limited)
    reasons = [dict(record.headers)["dlq_reason"].decode() for record in await dead(limited)]
    assert sorted(reasons) == ["invalid", "reference_missing", "too_large", "undecodable", "undecodable"]
    [told] = await rejected(limited)
    assert (told["event_id"], told["user_id"], told["error"]["code"]) == (invalid["event_id"], "u", "invalid")


async def test_a_bucket_that_is_not_there_dead_letters_nothing(ready: Settings) -> None:
    elsewhere = ready.model_copy(update={"s3_bucket": f"{ready.s3_bucket}-gone"})
    given = fields()
    await refer(elsewhere, f"s3://{elsewhere.s3_bucket}/requests/x")
    async with ingress.running(elsewhere):
        await eventually(lambda: transient_errors(elsewhere) > 2, timeout=30)
    assert not await dead(elsewhere)
    await asyncio.to_thread(s3.client(elsewhere).create_bucket, Bucket=elsewhere.s3_bucket)
    await put(elsewhere, framed(given), "requests/x")
    async with ingress.running(elsewhere):
        await disposed(elsewhere)
    assert await is_started(await temporal.connect(elsewhere), given["event_id"])


def transient_errors(settings: Settings) -> float:
    return float(metrics.TRANSIENT.labels(Topics(settings.topic_prefix).requests("image"))._value.get())


async def test_s3_killed_while_references_wait_loses_nothing_and_dead_letters_nothing(ready: Settings, tmp_path: Path) -> None:
    async with killable(tmp_path) as storage:
        own = ready.model_copy(update={"s3_endpoint_url": storage.address})
        await storage.start()
        await asyncio.to_thread(s3.client(own).create_bucket, Bucket=own.s3_bucket)
        by_reference, by_value, behind = [fields() for _ in range(12)], [fields() for _ in range(6)], fields()
        references = [await put(own, framed(each)) for each in by_reference]
        await storage.kill()
        async with ingress.running(own) as running:
            for number, reference in enumerate(references):
                await refer(own, reference, key=b"large", partition=number % 6)
            await eventually(lambda: transient_errors(own) > 2, timeout=30)
            await refer(own, value=framed(behind), key=b"large", partition=0)
            # Other keys of the same partitions do not wait for S3.
            for number, each in enumerate(by_value):
                await refer(own, value=framed(each), key=b"small", partition=number)
            client = await temporal.connect(own)
            await eventually(lambda: all_started(client, by_value), timeout=30)
            assert not await all_started(client, [behind]), "of one key"
            assert not running.done()
            assert await ingress.lag(own) == 19
            assert not await dead(own)
            await storage.start()
            await eventually(lambda: all_started(client, [*by_reference, behind]), timeout=60)
            await disposed(own)
        assert not await dead(own)


async def test_references_that_wait_keep_no_other_partition_out(blind: Settings) -> None:
    small = blind.model_copy(update={"ingress_max_in_flight": 8})
    for number in range(30):
        await refer(small, f"s3://{small.s3_bucket}/requests/x", key=str(number).encode(), partition=number % 5)
    given = fields()
    async with ingress.running(small):
        await eventually(lambda: transient_errors(small) > 2, timeout=30)
        await refer(small, value=framed(given), partition=5)
        client = await temporal.connect(small)
        await eventually(lambda: all_started(client, [given]), timeout=30)
    assert not await dead(small)


async def all_started(client: Client, given: list[dict[str, Any]]) -> bool:
    try:
        return all([await is_started(client, each["event_id"]) for each in given])
    except RPCError:
        return False


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_redriven_request_is_read_once_its_object_is_there(ready: Settings, store: AsyncEngine) -> None:
    """With the redrive itself: what is sent again is the reference."""
    given = fields()
    await refer(ready, f"s3://{ready.s3_bucket}/requests/late", sent=[("ce_id", str(given["event_id"]).encode())])
    async with ingress.running(ready):
        await disposed(ready)
        [letter] = await dead(ready)
        assert dict(letter.headers)["dlq_reason"] == b"reference_missing"
        await put(ready, framed(given), "requests/late")
        async with redriving(ready, store) as activities:
            asked = await page(ready, selection=Selection(event_ids=frozenset({given["event_id"]})))
            assert (await carry_out(activities, asked)).tally.sent == 1
        client = await temporal.connect(ready)
        await eventually(lambda: all_started(client, [given]), timeout=30)


async def test_a_request_without_room_in_temporal_is_told_which_setting_makes_room(ready: Settings) -> None:
    small = ready.model_copy(update={"temporal_max_payload_bytes": 1024})
    given = fields(prompt="x" * 2000)
    await refer(small, await put(small, framed(given)))
    async with ingress.running(small):
        await disposed(small)
    [letter] = await dead(small)
    headers = dict(letter.headers)
    assert headers["dlq_reason"] == b"too_large"
    assert b"HEADRACE_PAYLOAD_S3_BYTES" in headers["dlq_message"]
    assert [told["event_id"] for told in await rejected(small)] == [given["event_id"]]

    again = fields(prompt="x" * 2000)
    stored = small.model_copy(update={"payload_s3_bytes": 1024, "payload_keys": SecretStr(f"k:{base64.b64encode(bytes(32)).decode()}")})
    await refer(stored, await put(stored, framed(again)))
    async with ingress.running(stored):
        await disposed(stored)
    assert await is_started(await temporal.connect(stored), again["event_id"])


async def test_temporal_is_not_thought_away_because_s3_does_not_take_an_argument(ready: Settings) -> None:
    away = ready.model_copy(update={"payload_s3_bytes": 1024, "s3_endpoint_url": "http://127.0.0.1:1"})
    route = load_routes(ready.routes_file).find(ingress.REQUESTED)
    assert route is not None
    starter = Starter(await temporal.connect(away), 5, Sizes.of(away))
    request = ImageGenerationRequested.model_validate(fields(prompt="x" * 3000))
    record = SimpleNamespace(topic="t", partition=0, offset=0, key=None, headers=(), value=b"")
    gate = Gate("temporal")
    for _ in range(20):
        with pytest.raises(StorageAway, match="S3 does not take"):
            await gate.through(lambda: starter.start(record, Event(route, request, b"")))
    assert gate.is_open


async def test_the_example_in_the_documents_sends_what_the_ingress_takes(ready: Settings) -> None:
    example = (ROOT / "docs/examples/plain_reference.py").read_text("utf-8")
    assert f"```python\n{example}```" in (ROOT / "docs/clients.md").read_text("utf-8")
    given, secret = fields(prompt="x" * 2000), ready.s3_secret_access_key
    assert secret is not None
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-c", example, ready.kafka_bootstrap_servers, Topics(ready.topic_prefix).requests("image")),
        *(ready.s3_bucket, str(given["event_id"])),
        stdin=asyncio.subprocess.PIPE,
        env={
            **os.environ,
            "AWS_ENDPOINT_URL_S3": ready.s3_endpoint_url or "",
            "AWS_ACCESS_KEY_ID": ready.s3_access_key_id or "",
            "AWS_SECRET_ACCESS_KEY": secret.get_secret_value(),
            "AWS_DEFAULT_REGION": ready.s3_region,
        },
    )
    await process.communicate(framed(given))
    assert process.returncode == 0
    async with ingress.running(ready):
        await disposed(ready)
    assert await is_started(await temporal.connect(ready), given["event_id"])


async def test_the_rule_for_the_bucket_in_the_documents_is_one_that_s3_takes(ready: Settings) -> None:
    [code] = re.findall(r"^```python\n(import boto3.*?)^```$", (ROOT / "docs/operating.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    client = s3.client(ready)
    there = code.replace('"headrace"', repr(ready.s3_bucket)).replace('boto3.client("s3")', "client").replace("import boto3", "")
    await asyncio.to_thread(exec, there, {"client": client})
    [rule] = (await asyncio.to_thread(client.get_bucket_lifecycle_configuration, Bucket=ready.s3_bucket))["Rules"]
    assert (rule["Filter"]["Prefix"], rule["Expiration"]["Days"]) == ("requests/", 90)
