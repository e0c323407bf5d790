"""Bad input: where each record ends, what its dead letter and its sender's completion say, and that the partition goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer, ConsumerRecord
from temporalio.client import Client

from headrace import kafka, setup, temporal
from headrace.settings import Settings
from schemas import codec
from schemas.catalog import AVRO
from schemas.ids import workflow_id
from schemas.routes import SHIPPED
from schemas.topics import Topics
from tests.support import ingress
from tests.support.eventually import eventually
from tests.support.ingress import fields, framed

NIL = UUID(int=0)
EVENT = uuid4()


def value(**changed: Any) -> bytes:
    return framed(fields(**changed))


@dataclass(frozen=True)
class Bad:
    """A record that must end in the dead-letter topic."""

    value: bytes | None
    reason: str
    says: str
    rejected: bool = False
    """Whether its sender is told by a completion."""
    key: bytes | None = b"key"
    headers: list[tuple[str, bytes | None]] = field(default_factory=list)


COMPLETED = {
    "completion_id": EVENT,
    "event_id": EVENT,
    "user_id": "u",
    "workflow_id": None,
    "run_id": None,
    "status": "FAILED",
    "result": None,
    "error": None,
    "requested_at": fields()["requested_at"],
    "completed_at": fields()["requested_at"],
}
CANCELLABLE = "headrace.image.CancellableImageGenerationRequested"
"""The one record that has no route in this file."""


def batch(prompts: list[str]) -> bytes:
    given = {key: value for key, value in fields().items() if key not in ("prompt", "negative_prompt")}
    return framed({**given, "prompts": prompts}, "headrace.image.BatchImageGenerationRequested")


BAD = {
    "not avro": Bad(b"\x89PNG\r\n\x1a\n, and more", "undecodable", "neither Avro single-object encoding"),
    "empty": Bad(b"", "undecodable", "0 bytes starting with nothing"),
    "one byte": Bad(b"\xc3", "undecodable", "1 bytes starting with c3"),
    "unknown fingerprint": Bad(b"\xc3\x01" + bytes(8) + b"body", "unknown_schema", "the fingerprint 0000000000000000"),
    "schema id without a registry": Bad(b"\x00\x00\x00\x00\x07body", "unknown_schema", "HEADRACE_SCHEMA_REGISTRY_URL"),
    "schema in a header": Bad(
        value(), "undecodable", "__value_schema_id, and Headrace", headers=[("__value_schema_id", b"\x01" + bytes(16))]
    ),
    "trailing bytes": Bad(value() + b"\x00", "undecodable", "1 bytes follow the end"),
    "truncated": Bad(value()[:-3], "undecodable", "not a headrace.image.ImageGenerationRequested"),
    "not a request": Bad(framed(COMPLETED, "headrace.image.ImageGenerationCompleted"), "unroutable", "no route is for the record"),
    "no route": Bad(framed(fields(), CANCELLABLE), "unroutable", "no route is for the record", rejected=True),
    "no prompts": Bad(batch([]), "invalid", "prompts: List should have at least 1 item", rejected=True),
    "501 prompts": Bad(batch(["A mill"] * 501), "invalid", "prompts: List should have at most 500 items", rejected=True),
    "prompts without room": Bad(batch(["\x01" * 400] * 500), "invalid", "send several batches", rejected=True),
    "empty prompt": Bad(value(prompt=""), "invalid", "prompt: String should have at least 1", rejected=True),
    "blank prompt": Bad(value(prompt="  \n"), "invalid", "the prompt is blank", rejected=True),
    "long prompt": Bad(value(prompt="x" * 5000), "invalid", "prompt: String should have at most 4000", rejected=True),
    "900 kB prompt": Bad(value(prompt="x" * 900_000), "invalid", "prompt: String should have at most 4000", rejected=True),
    "size that is none": Bad(value(size="large"), "invalid", "is not WIDTHxHEIGHT", rejected=True),
    "size not offered": Bad(value(size="9000x9000"), "invalid", "backend local does not offer 9000x9000", rejected=True),
    "size openai does not offer": Bad(value(size="512x512", backend="openai"), "invalid", "it offers 1024x1024", rejected=True),
    "unknown backend": Bad(value(backend="crayon"), "invalid", "backend: Input should be", rejected=True),
    "unknown style": Bad(value(style="brutalist"), "invalid", "style: Input should be", rejected=True),
    "empty user": Bad(value(user_id=""), "invalid", "user_id: String should have at least 1", rejected=True),
    "user with a control character": Bad(value(user_id="a\nb"), "invalid", "no control characters", rejected=True),
    "nil event id": Bad(value(event_id=NIL), "invalid", "the nil UUID identifies nothing"),
    "another ce_id": Bad(value(event_id=EVENT), "invalid", "header ce_id is", headers=[("ce_id", str(uuid4()).encode())]),
    "two ce_ids": Bad(value(event_id=EVENT), "invalid", "header ce_id", headers=[("ce_id", str(EVENT).encode()), ("ce_id", b"other")]),
    "tombstone": Bad(None, "undecodable", "tombstone"),
    "repeated headers": Bad(b"junk", "undecodable", "4 bytes", headers=[("h", b"1"), ("g", None), ("h", b""), ("h", b"\xff")]),
    "key that is not UTF-8": Bad(b"junk!", "undecodable", "5 bytes", key=b"\xff\xfe\x00"),
    "no key": Bad(b"junk!!", "undecodable", "6 bytes", key=None),
}


@dataclass
class Outcome:
    """What the ingress left behind after every bad record, and a good one behind each."""

    dead: dict[tuple[int, int], ConsumerRecord]
    completions: dict[str, dict[str, Any]]
    places: dict[str, Any]
    good: dict[str, UUID]
    client: Client


@pytest_asyncio.fixture(scope="module")
async def outcome(stack_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Outcome]:
    name = f"t{uuid4().hex[:12]}"
    given = {key.lower().removeprefix("headrace_"): found for key, found in stack_environment.items()}
    folder = tmp_path_factory.mktemp("bad")
    own = {
        "topic_prefix": f"{name}.",
        "ingress_group": name,
        "s3_bucket": name,
        "database_url": f"sqlite+aiosqlite:///{folder}/headrace.db",
    }
    own["routes_file"] = str(_routes(folder / "routes.toml"))
    settings = Settings.model_validate({**given, **own})
    await setup.run(settings, lambda _: None)
    topics = Topics(settings.topic_prefix)
    topic = topics.requests("image")
    places, good = {}, {}
    async with kafka.producer(settings, idempotent=False) as producer:
        for case, bad in BAD.items():
            # One partition: what stalls it stalls every case behind it.
            places[case] = await producer.send_and_wait(topic, bad.value, key=bad.key, partition=0, headers=bad.headers)
            good[case] = uuid4()
            await producer.send_and_wait(topic, value(event_id=good[case]), key=b"good", partition=0)
        places["null key and value"] = await _send_nothing(producer, topic)
    async with ingress.running(settings):
        await eventually(lambda: _no_lag(settings), timeout=60)
    dead = {}
    for letter in await ingress.read_all(settings, topics.dead_letters(topic)):
        found = dict(letter.headers)
        dead[int(found["dlq_partition"]), int(found["dlq_offset"])] = letter
    completions = {}
    for completion in await ingress.read_all(settings, topics.completions("image")):
        read = codec.decode_body(completion.value[10:], ingress.CATALOG.by_fingerprint(completion.value[2:10]))  # type: ignore[arg-type]
        completions[str(read["event_id"])] = {**read, "key": completion.key, "headers": dict(completion.headers)}
    yield Outcome(dead, completions, places, good, await temporal.connect(settings))


def _routes(path: Path) -> Path:
    """The shipped ones but one."""
    head, *routes = SHIPPED.read_text().split("[[route]]")
    kept = [route for route in routes if CANCELLABLE not in route]
    path.write_text("[[route]]".join([head, *kept]).replace('"avro/', f'"{AVRO}/'))
    return path


async def _send_nothing(producer: AIOKafkaProducer, topic: str) -> Any:
    batch = producer.create_batch()
    batch.append(key=None, value=None, timestamp=1_700_000_000_000, headers=[("a", b"b")])
    return await (await producer.send_batch(batch, topic, partition=0))


async def _no_lag(settings: Settings) -> bool:
    return await ingress.lag(settings) == 0


@pytest.mark.parametrize("case", BAD)
async def test_a_bad_record_is_dead_lettered_byte_for_byte_with_its_reason(outcome: Outcome, case: str) -> None:
    bad, place = BAD[case], outcome.places[case]
    letter = outcome.dead[place.partition, place.offset]
    assert (letter.key, letter.value, letter.timestamp) == (bad.key, bad.value, place.timestamp)
    own = [name for name, _ in letter.headers if name.startswith("dlq_")]
    assert list(letter.headers[: -len(own)]) == bad.headers
    assert own == ["dlq_reason", "dlq_message", "dlq_topic", "dlq_partition", "dlq_offset", "dlq_time", "dlq_receipt"]
    found = dict(letter.headers)
    assert found["dlq_reason"].decode() == bad.reason
    assert bad.says in found["dlq_message"].decode()
    assert len(found["dlq_message"]) <= 4000
    receipts = {str(completion["completion_id"]) for completion in outcome.completions.values()}
    receipt = found["dlq_receipt"].decode()
    assert receipt in receipts if bad.rejected else receipt.startswith("none: ")


@pytest.mark.parametrize("case", BAD)
async def test_the_record_behind_a_bad_one_is_started(outcome: Outcome, case: str) -> None:
    described = await outcome.client.get_workflow_handle(workflow_id("image", outcome.good[case])).describe()
    assert described.workflow_type == "ImageGenerationWorkflow"


@pytest.mark.parametrize("case", [case for case, bad in BAD.items() if bad.rejected])
async def test_the_sender_of_a_readable_bad_request_gets_rejected(outcome: Outcome, case: str) -> None:
    bad = BAD[case]
    frame = codec.unframe(bad.value)
    assert isinstance(frame, codec.SingleObject)
    writer = ingress.CATALOG.by_fingerprint(frame.fingerprint)
    assert writer is not None
    request = codec.decode_body(frame.body, writer)
    completion = outcome.completions[str(request["event_id"])]
    assert (completion["status"], completion["error"]["code"]) == ("REJECTED", bad.reason)
    assert bad.says in completion["error"]["message"]
    assert (completion["workflow_id"], completion["run_id"], completion["result"]) == (None, None, None)
    assert completion["user_id"] == request["user_id"]
    assert completion["key"] == bad.key
    assert completion["headers"]["ce_id"] == str(completion["completion_id"]).encode()
    place = outcome.places[case]
    assert completion["error"]["message"].endswith(f" ({place.topic}, partition 0, offset {place.offset})")
    named = {name: completion["headers"][f"dlq_{name}"].decode() for name in ("reason", "topic", "partition", "offset")}
    assert named == {"reason": bad.reason, "topic": place.topic, "partition": "0", "offset": str(place.offset)}


async def test_nobody_else_gets_a_completion(outcome: Outcome) -> None:
    assert len(outcome.completions) == sum(bad.rejected for bad in BAD.values())


async def test_a_record_without_key_and_value_is_dead_lettered_too(outcome: Outcome) -> None:
    place = outcome.places["null key and value"]
    letter = outcome.dead[place.partition, place.offset]
    assert (letter.key, letter.value, letter.timestamp) == (None, None, 1_700_000_000_000)
    assert letter.headers[0] == ("a", b"b")


async def test_every_dead_letter_is_one_of_the_bad_records(outcome: Outcome) -> None:
    assert len(outcome.dead) == len(BAD) + 1
