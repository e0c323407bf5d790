"""Payloads that are encrypted, or lie in S3, on the real server: what Temporal keeps, and who can read it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
import structlog
from aiohttp import web
from google.protobuf import json_format
from pydantic import SecretStr
from temporalio import activity, workflow
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from headrace import codec_server, setup, temporal
from headrace.encryption import Encryption, UnknownKey, parse_keys
from headrace.payloads import converter
from headrace.settings import Settings, SettingsError
from schemas.ids import workflow_id
from schemas.topics import Topics
from tests.support import ingress
from tests.support.eventually import eventually
from tests.support.ingress import fields, framed

OLD, NEW = (f"{name}:{base64.b64encode(name.encode() * 16).decode()}" for name in ("k1", "k2"))
SECRET = "a prompt that Temporal's operators may not read"


@activity.defn(name="echo")
async def echo(text: str) -> str:
    if text == "fail":
        raise ApplicationError(SECRET, non_retryable=True)
    return text


@workflow.defn(name="Echoes")
class Echoes:
    @workflow.run
    async def run(self, text: str) -> str:
        answer: str = await workflow.execute_activity("echo", text, start_to_close_timeout=timedelta(seconds=30))
        return answer


async def client_of(settings: Settings, **given: object) -> Client:
    return await temporal.connect(Settings.model_validate({**settings.model_dump(), **given}))


@contextlib.asynccontextmanager
async def working(client: Client, queue: str) -> AsyncIterator[None]:
    async with Worker(client, task_queue=queue, workflows=[Echoes], activities=[echo], workflow_runner=UnsandboxedWorkflowRunner()):
        yield


async def start(client: Client, text: str) -> WorkflowHandle[Echoes, str]:
    queue = uuid4().hex
    async with working(client, queue):
        handle = await client.start_workflow(Echoes.run, text, id=queue, task_queue=queue)
        with contextlib.suppress(WorkflowFailureError):
            await handle.result()
    return handle


async def history_of(handle: WorkflowHandle[Echoes, str]) -> bytes:
    """As it lies in Temporal."""
    return b"".join([event.SerializeToString() async for event in handle.fetch_history_events()])


@pytest.mark.parametrize("text", [SECRET, "fail"])
async def test_temporal_keeps_nothing_that_its_operators_can_read(settings: Settings, text: str) -> None:
    client = await client_of(settings, payload_keys=NEW)
    handle = await start(client, text)
    assert SECRET.encode() not in await history_of(handle)
    if text == "fail":
        with pytest.raises(WorkflowFailureError) as raised:
            await handle.result()
        failed = raised.value.cause
        assert isinstance(failed, ActivityError)
        assert isinstance(failed.cause, ApplicationError)
        assert failed.cause.message == SECRET
    else:
        assert await handle.result() == SECRET


async def test_a_key_that_was_put_behind_a_new_one_still_reads(settings: Settings) -> None:
    before = await start(await client_of(settings, payload_keys=OLD), SECRET)
    plain = await start(await client_of(settings), SECRET)
    rotated = await client_of(settings, payload_keys=f"{NEW}, {OLD}")
    for handle in (before, plain):
        assert await rotated.get_workflow_handle(handle.id, result_type=str).result() == SECRET
    dropped = await client_of(settings, payload_keys=NEW)
    with pytest.raises(UnknownKey, match="'k1': add it to HEADRACE_PAYLOAD_KEYS"):
        await dropped.get_workflow_handle(before.id, result_type=str).result()


async def test_what_was_tampered_with_is_refused() -> None:
    codec = Encryption(parse_keys(NEW))
    [sealed] = await codec.encode([Payload(data=b"1")])
    sealed.data = sealed.data[:-1] + bytes([sealed.data[-1] ^ 1])
    with pytest.raises(UnknownKey):
        await codec.decode([sealed])


@pytest.mark.parametrize("text", ["", "k1", "k1:", "k1:!!!", "k1:c2hvcnQ=", f"{OLD},{OLD}", ":" + OLD.partition(":")[2]])
def test_keys_that_are_none_are_told_without_repeating_them(text: str) -> None:
    with pytest.raises(SettingsError, match="HEADRACE_PAYLOAD_KEYS") as raised:
        parse_keys(text)
    assert "c2hvcnQ" not in str(raised.value)


async def test_twenty_megabytes_go_round_and_the_history_stays_small(settings: Settings) -> None:
    await setup._bucket(settings, lambda _: None)
    client = await client_of(settings, payload_s3_bytes=100_000)
    handle = await start(client, "x" * 20_000_000)
    assert len(await handle.result()) == 20_000_000
    assert len(await history_of(handle)) < 50_000


async def test_an_s3_that_refuses_a_large_payload_holds_its_record_back_and_dead_letters_none(settings: Settings) -> None:
    await setup.run(settings, lambda _: None)
    refused = settings.model_copy(update={"payload_s3_bytes": 1024, "s3_secret_access_key": SecretStr("wr0ng-secret")})
    event_id = uuid4()
    await ingress.send(settings, framed(fields(event_id=event_id, prompt="A mill. " * 300)))
    with structlog.testing.capture_logs() as said:
        async with ingress.running(refused) as task:
            await eventually(lambda: any(line["event"] == "record_waits" for line in said), timeout=30)
            assert not task.done()
    waits = next(str(line) for line in said if line["event"] == "record_waits")
    assert "HEADRACE_S3_ACCESS_KEY_ID" in waits
    assert "wr0ng-secret" not in waits
    assert await ingress.lag(settings) == 1
    async with ingress.running(settings.model_copy(update={"payload_s3_bytes": 1024})):
        await eventually(lambda: ingress.all_disposed(settings), timeout=30)
    described = await (await temporal.connect(settings)).get_workflow_handle(workflow_id("image", event_id)).describe()
    assert described.workflow_type == "ImageGenerationWorkflow"
    assert not await ingress.read_all(settings, Topics(settings.topic_prefix).requests("image") + ".dlq")


async def test_the_codec_server_shows_what_the_ui_may_see_and_only_to_its_own_pages(settings: Settings) -> None:
    await setup._bucket(settings, lambda _: None)
    encoded = Settings.model_validate({**settings.model_dump(), "payload_keys": NEW, "payload_s3_bytes": 1024})
    runner = web.AppRunner(codec_server.application(encoded, "http://ui.example"))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        for text in (SECRET, SECRET * 100):
            [lying] = await converter(encoded).encode([text])
            assert SECRET.encode() not in lying.SerializeToString()
            async with httpx.AsyncClient() as http:
                answer = await http.post(f"{address}/decode", content=json_format.MessageToJson(Payloads(payloads=[lying])))
                assert answer.headers["Access-Control-Allow-Origin"] == "http://ui.example"
                shown = json_format.Parse(answer.text, Payloads())
                assert shown.payloads[0].data.decode() == f'"{text}"'
                assert (await http.post(f"{address}/decode", content="junk")).status_code == 400
    finally:
        await runner.cleanup()
    with pytest.raises(SettingsError, match="nothing is encoded"):
        codec_server.application(settings, "*")


async def test_the_codec_server_is_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for keys, code in ((None, 2), (NEW, None)):
        monkeypatch.setenv("HEADRACE_STATE_DIR", str(tmp_path))
        if keys:
            monkeypatch.setenv("HEADRACE_PAYLOAD_KEYS", keys)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "headrace.codec_server", "--port", "0"), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            line = await asyncio.wait_for(process.stdout.readline(), 30)
            assert line.startswith(b"http://127.0.0.1:") == (code is None)
        finally:
            if code is None:
                process.terminate()
            await process.communicate()
        assert code is None or process.returncode == code
