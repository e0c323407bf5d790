"""Every answer that a registry, or a proxy in front of it, may give. Only two of them say something about a record; the others wait."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from headrace.registry import Registry
from headrace.wire import Wire
from ingress.rejection import Receipt, Rejections
from schemas.catalog import Catalog, shipped
from schemas.codec import Schema
from schemas.errors import Reason, Rejected, Transient
from schemas.topics import Topics
from tests.support.eventually import eventually
from tests.support.messages import RECORD, completion

SCHEMA = Schema('{"type": "record", "name": "acme.R", "fields": [{"name": "n", "type": "long"}]}')
GOOD = {"schema": SCHEMA.text}


@dataclass
class Stub:
    """Answers what the test says, and remembers what it was asked."""

    port: int = 0
    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, status: int, body: Any) -> None:
        self.status = status
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append((request.method, request.raw_path, request.headers.get("Authorization")))
        await self.open.wait()
        return web.Response(status=self.status, body=self.body, headers={"Content-Type": "application/json", **self.headers})


@pytest_asyncio.fixture
async def stub() -> AsyncIterator[Stub]:
    server = Stub()
    server.open.set()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.port = runner.addresses[0][1]
    yield server
    server.open.set()
    await runner.cleanup()


@pytest_asyncio.fixture
async def registry(stub: Stub) -> AsyncIterator[Registry]:
    client = Registry(stub.url)
    yield client
    await client.close()


WAITS: list[tuple[int, Any, str]] = [
    (500, {"error_code": 50001, "message": "store"}, "it is asked again"),
    (502, b"<html>Bad Gateway</html>", "it is asked again"),
    (503, b"", "it is asked again"),
    (429, {"error_code": 429}, "it is asked again"),
    (401, {"error_code": 401}, "check the key and secret"),
    (403, b"forbidden", "check the key and secret"),
    (404, b"<html>Not Found</html>", "check the path"),
    (404, {"error_code": 404, "message": "HTTP 404 Not Found"}, "check the path"),
    (302, b"", "check the path"),
    (200, b"<html>Sign in</html>", "check the path"),
    (200, b"\xff\xfe", "check the path"),
    (200, b"", "check the path"),
    (200, b"[1]", "check the path"),
    (200, {}, "check the path"),
    (200, {"schema": 5, "id": "x"}, "check the path"),
]


@pytest.mark.parametrize(("status", "body", "todo"), WAITS)
async def test_an_answer_that_says_nothing_about_the_record_waits(
    registry: Registry, stub: Stub, status: int, body: Any, todo: str
) -> None:
    stub.answer(status, body)
    calls = (registry.schema(1), registry.register("s", SCHEMA), registry.add("s", SCHEMA), registry.versions("s"), registry.level("s"))
    for call in calls if status == 200 else (*calls, registry.set_level("s", "NONE")):
        with pytest.raises(Transient, match=f"answers {status}[ ;]") as caught:
            await call
        assert todo in str(caught.value)
        assert len(str(caught.value)) < 400
    stub.answer(200, {**GOOD, "id": 7})
    assert (await registry.schema(1)).name == "acme.R", "nothing of the bad answer is kept"
    assert await registry.register("s", SCHEMA) == 7


async def test_only_40403_says_that_an_id_is_unknown_and_it_may_be_known_later(registry: Registry, stub: Stub) -> None:
    stub.answer(404, {"error_code": 40403, "message": "Schema not found"})
    with pytest.raises(Rejected, match="knows no schema ID 1") as caught:
        await registry.schema(1)
    assert caught.value.reason is Reason.UNKNOWN_SCHEMA
    stub.answer(200, GOOD)
    assert (await registry.schema(1)).fingerprint == SCHEMA.fingerprint


async def test_what_is_there_is_looked_up_and_registered_only_when_it_is_not(registry: Registry, stub: Stub) -> None:
    stub.answer(404, {"error_code": 40403, "message": "Schema not found"})
    with pytest.raises(Transient, match="answers 404 "):
        await registry.register("s", SCHEMA)
    stub.answer(200, {**GOOD, "id": 7})
    assert [await registry.register("s", SCHEMA) for _ in range(3)] == [7, 7, 7]
    assert [path for _, path, _ in stub.asked] == ["/subjects/s", "/subjects/s/versions", "/subjects/s"]


@pytest.mark.parametrize("status", [409, 422])
async def test_a_refused_schema_is_the_senders_to_mend(registry: Registry, stub: Stub, status: int) -> None:
    stub.answer(status, {"error_code": status, "message": "incompatible: " + "x" * 5000})
    with pytest.raises(ValueError, match=r"refuses acme\.R under the subject s: incompatible: x") as caught:
        await registry.register("s", SCHEMA)
    assert len(str(caught.value)) < 600
    stub.answer(status, b"words without JSON")
    with pytest.raises(ValueError, match="words without JSON"):
        await registry.register("s", SCHEMA)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"schema": '"string"'}, "cannot be used: not an Avro record schema"),
        ({"schema": "syntax = 'proto3';", "schemaType": "PROTOBUF"}, "of type PROTOBUF: send Avro"),
        ({"schema": '{"type": "record", "name": "R", "fields": [{"name": "r", "type": ["null", "R"]}]}'}, "R contains itself"),
        ({**GOOD, "references": [{"name": "a", "subject": "b", "version": 1}]}, "refers to others"),
    ],
)
async def test_a_schema_that_cannot_be_used_is_rejected(registry: Registry, stub: Stub, answer: Any, message: str) -> None:
    stub.answer(200, answer)
    with pytest.raises(Rejected, match=message) as caught:
        await registry.schema(1)
    assert caught.value.reason is Reason.UNKNOWN_SCHEMA


async def test_a_receipt_whose_schema_is_refused_waits_and_does_not_end_the_process(registry: Registry, stub: Stub) -> None:
    stub.answer(409, {"error_code": 409, "message": "incompatible"})
    told: Any = completion()
    rejections = Rejections(None, Wire(Catalog(shipped()), registry), Topics())
    with pytest.raises(Transient, match=r"refuses .*ImageGenerationCompleted under the subject image\.completions-"):
        await rejections.send(Receipt("image.completions", RECORD, told, None, []))


async def test_a_registry_that_hangs_is_away(stub: Stub) -> None:
    stub.open.clear()
    client = Registry(stub.url, timeout=0.3)
    try:
        with pytest.raises(Transient, match=r"does not answer: (Read|Connect)Timeout"):
            await client.schema(1)
    finally:
        await client.close()


async def test_an_answer_that_cannot_be_unpacked_is_away(registry: Registry, stub: Stub) -> None:
    stub.answer(200, b"not gzip")
    stub.headers["Content-Encoding"] = "gzip"
    with pytest.raises(Transient, match="does not answer: DecodingError"):
        await registry.schema(1)


async def test_a_thousand_records_of_a_new_schema_ask_once(registry: Registry, stub: Stub) -> None:
    stub.answer(200, {**GOOD, "id": 7})
    await asyncio.gather(*(registry.schema(1) for _ in range(1000)), *(registry.register("s", SCHEMA) for _ in range(1000)))
    assert sorted(method for method, _, _ in stub.asked) == ["GET", "POST"]


async def test_waiting_for_one_id_holds_up_no_other(registry: Registry, stub: Stub) -> None:
    stub.answer(200, GOOD)
    await registry.schema(1)
    stub.open.clear()
    waiting = asyncio.create_task(registry.schema(2))
    await eventually(lambda: len(stub.asked) == 2)
    assert (await registry.schema(1)).name == "acme.R"
    assert not waiting.done()
    stub.open.set()
    await waiting


async def test_one_who_stops_waiting_does_not_stop_the_others(registry: Registry, stub: Stub) -> None:
    stub.answer(200, GOOD)
    stub.open.clear()
    impatient, patient = asyncio.create_task(registry.schema(1)), asyncio.create_task(registry.schema(1))
    await eventually(lambda: stub.asked)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    stub.open.set()
    assert (await patient).name == "acme.R"
    assert len(stub.asked) == 1


async def test_closing_leaves_no_question_under_way(stub: Stub) -> None:
    stub.open.clear()
    client = Registry(stub.url)
    waiting = asyncio.create_task(client.schema(1))
    await eventually(lambda: stub.asked)
    await client.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_registered_schema_is_known_by_its_id_without_asking(registry: Registry, stub: Stub) -> None:
    stub.answer(200, {"id": 7})
    assert await registry.register("s", SCHEMA) == 7
    assert await registry.schema(7) is SCHEMA
    assert len(stub.asked) == 1


@pytest.mark.parametrize("end", ["", "/"])
async def test_a_path_in_the_url_is_kept_and_a_subject_is_quoted(stub: Stub, end: str) -> None:
    stub.answer(200, {**GOOD, "id": 7})
    client = Registry(f"{stub.url}/apis/ccompat/v7{end}")
    try:
        await client.schema(1)
        await client.register("a/b ü?", SCHEMA)
        await client.add("a/b ü?", SCHEMA)
    finally:
        await client.close()
    below = [path.removeprefix("/apis/ccompat/v7/") for _, path, _ in stub.asked]
    assert below == ["schemas/ids/1", "subjects/a%2Fb%20%C3%BC%3F", "subjects/a%2Fb%20%C3%BC%3F/versions"]


async def test_key_and_secret_are_sent_and_appear_in_no_text(stub: Stub, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    texts = []
    client = Registry(f"http://my%40key:s%2Fecr%3At@127.0.0.1:{stub.port}/v7")
    try:
        stub.answer(200, GOOD)
        await client.schema(1)
        for status in (401, 404, 409, 422, 500):
            stub.answer(status, {"error_code": 40403 if status == 404 else status})
            for call in (client.schema(2), client.register("s", SCHEMA)):
                with pytest.raises((Transient, Rejected, ValueError)) as caught:
                    await call
                texts.append(repr(caught.value))
    finally:
        await client.close()
    away = Registry(
        f"http://my%40key:s%2Fecr%3At@127.0.0.1:{stub.port}0/v7" if stub.port < 6553 else "http://my%40key:s%2Fecr%3At@127.0.0.1:9"
    )
    try:
        with pytest.raises(Transient) as gone:
            await away.schema(1)
        texts.append(repr(gone.value))
    finally:
        await away.close()
    sent = base64.b64encode(b"my@key:s/ecr:t").decode()
    assert {authorization for _, _, authorization in stub.asked} == {f"Basic {sent}"}
    everything = "\n".join([*texts, caplog.text, repr(vars(client))])
    assert "HTTP Request" in caplog.text
    for secret in ("my@key", "my%40key", "s/ecr", "s%2Fecr", sent):
        assert secret not in everything


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8081",
        "localhost",
        "ftp://h",
        "http://",
        "http://h:port",
        "http://h:99999",
        "http://key:secret@[::1",
        "http://h?a=b",
        "http://h#a",
    ],
)
def test_a_url_that_is_none_is_refused_at_once_without_its_secret(url: str) -> None:
    with pytest.raises(ValueError, match="HEADRACE_SCHEMA_REGISTRY_URL is not a URL such as") as caught:
        Registry(url)
    assert "key:secret@[" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


async def test_a_url_with_an_ipv6_address_is_one() -> None:
    client = Registry("http://[::1]:9/v7")
    try:
        with pytest.raises(Transient, match=r"the schema registry at http://\[::1\]:9/v7 does not answer"):
            await client.schema(1)
    finally:
        await client.close()
