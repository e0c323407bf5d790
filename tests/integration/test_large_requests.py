"""Requests that Kafka does not take: from the producer to the completion, with the real parts."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from pydantic import SecretStr
from temporalio.client import WorkflowFailureError

from headrace import s3, setup, temporal
from headrace.cli.errors import CommandError, Exit
from headrace.cli.produce import send
from headrace.producer import RequestProducer
from headrace.references import NotStored
from headrace.requester import Requester
from headrace.settings import Settings
from headrace.wire import Wire
from ingress.__main__ import main as ingress
from notifier.__main__ import main as notifier
from schemas.errors import Transient
from schemas.ids import workflow_id
from schemas.routes import load_routes
from schemas.topics import Topics
from tests.support.documents.domain import DocumentRequested
from tests.support.ingress import read_all
from tests.support.temporal_namespace import in_namespace_of_its_own
from workers.__main__ import serve

ROUTES = Path(__file__).parents[1] / "support" / "documents" / "routes.toml"
RECORD = "acme.documents.DocumentRequested"
LARGE = 20_000_000


@pytest_asyncio.fixture
async def documents(settings: Settings) -> Settings:
    own = settings.model_copy(update={"routes_file": ROUTES, "worker_modules": ("tests.support.documents.domain",)})
    own = await in_namespace_of_its_own(own)
    await setup.run(own, lambda _: None)
    return own


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[None]:
    """All three services, in this process."""
    stop = asyncio.Event()
    services = (ingress(settings, stop), notifier(settings, stop), serve(settings, stop, "documents"))
    tasks = [asyncio.create_task(service) for service in services]
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait(tasks, timeout=30)


def wire_of(settings: Settings) -> Wire:
    return Wire.of(settings, load_routes(settings.routes_file).catalog())


def document(text: str, **fields: Any) -> DocumentRequested:
    return DocumentRequested(event_id=uuid4(), user_id="ada", requested_at=datetime.now(UTC), text=text, **fields)


async def requests(settings: Settings) -> list[Any]:
    return await read_all(settings, Topics(settings.topic_prefix).requests("documents"))


@pytest.mark.timeout(180)
async def test_twenty_megabytes_go_round_by_reference_and_the_history_stays_small(documents: Settings) -> None:
    stored = documents.model_copy(update={"payload_s3_bytes": 100_000})
    given = document("x" * LARGE)
    async with running(stored), Requester(stored, wire_of(stored), ["documents"]) as requester:
        received = await requester.request(given, seconds=120, record=RECORD)
    completion = received.completion
    assert completion["status"] == "SUCCEEDED"
    assert completion["result"]["sha256"] == hashlib.sha256(given.text.encode()).hexdigest()
    assert received.key == b"ada"
    [record] = await requests(stored)
    assert record.value == b""
    run = (await temporal.connect(stored)).get_workflow_handle(workflow_id("documents", given.event_id))
    described = (await run.describe()).raw_description.workflow_execution_info
    assert described.history_size_bytes < 50_000
    assert sum([event.ByteSize() async for event in run.fetch_history_events()]) < 50_000


@pytest.mark.timeout(180)
async def test_a_result_that_no_completion_can_carry_is_told_as_a_failure(documents: Settings) -> None:
    stored = documents.model_copy(update={"payload_s3_bytes": 100_000})
    given = document("x" * 3_000_000, echoed=3_000_000)
    run = (await temporal.connect(stored)).get_workflow_handle(workflow_id("documents", given.event_id))
    async with running(stored), Requester(stored, wire_of(stored), ["documents"]) as requester:
        completion = (await requester.request(given, seconds=120, record=RECORD)).completion
        with pytest.raises(WorkflowFailureError):
            await run.result()
    assert (completion["status"], completion["result"], completion["error"]["code"]) == ("FAILED", None, "ResultTooLarge")
    assert "let the result name an object in S3" in completion["error"]["message"]
    [entry] = [await wire_of(stored).decode(record.value) for record in await read_all(stored, Topics(stored.topic_prefix).history)]
    assert entry.value["status"] == "FAILED"


async def test_what_a_topic_does_not_take_goes_by_reference_and_what_it_takes_by_value(documents: Settings) -> None:
    """1.5 MB are less than the client's limit and more than the topic's: Kafka is asked once, and not for the next one."""
    sent = [document("x" * size) for size in (1000, 1_500_000, 1_600_000, 500_000, 1000)]
    async with RequestProducer(documents, wire_of(documents)) as producer:
        for each in sent:
            await producer.send(each, record=RECORD)
        await producer.send(sent[1], record=RECORD)
    found = {dict(record.headers)["ce_id"].decode(): record for record in await requests(documents)}
    assert [bool(found[str(each.event_id)].value) for each in sent] == [True, False, False, True, True]
    references = {dict(record.headers).get("ce_dataref") for record in await requests(documents)} - {None}
    assert len(references) == 2, "sent again, it is the same object"
    for each in sent[1:3]:
        reference = dict(found[str(each.event_id)].headers)["ce_dataref"].decode()
        key = reference.removeprefix(f"s3://{documents.s3_bucket}/")
        assert key.startswith(f"requests/{documents.topic_prefix}documents.requests/{each.event_id}/")
        found_there = await asyncio.to_thread(s3.client(documents).get_object, Bucket=documents.s3_bucket, Key=key)
        decoded = await wire_of(documents).decode(await asyncio.to_thread(found_there["Body"].read))
        assert (decoded.record, decoded.value["text"]) == (RECORD, each.text)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"s3_access_key_id": None, "s3_secret_access_key": None}, "there are no credentials for S3: HEADRACE_S3_ACCESS_KEY_ID"),
        ({"s3_secret_access_key": SecretStr("wrong")}, "the secret is not that of its key ID: HEADRACE_S3_SECRET_ACCESS_KEY"),
        ({"ingress_max_bytes": 1024 * 1024}, "HEADRACE_INGRESS_MAX_BYTES"),
    ],
)
async def test_a_sender_who_cannot_store_is_told_what_to_do_and_sends_nothing(
    documents: Settings, changed: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    wrong = documents.model_copy(update=changed)
    async with RequestProducer(wrong, wire_of(wrong)) as producer:
        with pytest.raises(NotStored, match=says):
            await producer.send(document("x" * 3_000_000), record=RECORD)
    assert not await requests(documents)


async def test_a_sender_is_told_that_s3_is_away(documents: Settings) -> None:
    away = documents.model_copy(update={"s3_endpoint_url": "http://127.0.0.1:1"})
    async with RequestProducer(away, wire_of(away)) as producer:
        with pytest.raises(Transient, match=r"S3 at http://127\.0\.0\.1:1"):
            await producer.send(document("x" * 3_000_000), record=RECORD)


async def test_headrace_produce_sends_by_reference_by_itself(
    documents: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "request.json"
    file.write_text('{"user_id": "ada", "text": "' + "x" * 3_000_000 + '"}\n')
    await send(documents, "DocumentRequested", str(file), key=None, event_id=None)
    event_id = capsys.readouterr().out.strip()
    [record] = await requests(documents)
    assert (record.value, record.key) == (b"", b"ada")
    assert event_id.encode() in dict(record.headers)["ce_dataref"]
    for changed, code in (
        ({"s3_secret_access_key": SecretStr("wrong")}, Exit.FAILED),
        ({"s3_endpoint_url": "http://127.0.0.1:1"}, Exit.UNREACHABLE),
    ):
        with pytest.raises(CommandError) as raised:
            await send(documents.model_copy(update=changed), "DocumentRequested", str(file), key=None, event_id=None)
        assert raised.value.code == code
        assert "S3" in str(raised.value)
