"""What the commands and the reconciler say of a request whose value lies in S3."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from aiokafka import TopicPartition

from headrace import reading, setup, temporal
from headrace.cli.dead_letters import Filters, show_all, show_one
from headrace.explain.asking import explain
from headrace.explain.request import request
from headrace.references import References
from headrace.replay import Outcome, Replay
from headrace.settings import Settings
from headrace.store.engine import engine
from headrace.wire import Wire
from notifier.reconcile.events import OpenEvent
from notifier.reconcile.requests import Requests
from schemas.command import COMMAND
from schemas.event import Reader
from schemas.routes import load_routes
from schemas.topics import Topics
from tests.support import ingress
from tests.support.eventually import eventually
from tests.support.ingress import CATALOG, REQUESTED, fields, framed
from tests.support.references import put, refer


@pytest_asyncio.fixture
async def ready(settings: Settings) -> Settings:
    await setup.run(settings, lambda _: None)
    return settings


def away(settings: Settings) -> Settings:
    return settings.model_copy(update={"s3_endpoint_url": "http://127.0.0.1:1"})


def topic_of(settings: Settings) -> str:
    return Topics(settings.topic_prefix).requests("image")


async def sent(settings: Settings, given: dict[str, Any], key: str | None = None) -> str:
    reference = await put(settings, framed(given), key)
    await refer(settings, reference, key=b"ada", partition=0, sent=[("ce_id", str(given["event_id"]).encode())])
    return reference


async def test_a_dead_letter_is_shown_with_the_request_it_refers_to(ready: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    given = fields(prompt="")
    reference = await sent(ready, given)
    async with ingress.running(ready):

        async def buried() -> bool:
            return len(await ingress.read_all(ready, f"{topic_of(ready)}.dlq")) == 1

        await eventually(buried, timeout=30)
    letters = await ingress.read_all(ready, f"{topic_of(ready)}.dlq")
    place = f"{letters[0].topic}:{letters[0].partition}:{letters[0].offset}"
    capsys.readouterr()
    await show_one(ready, place, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["record"], found["dataref"], found["value_bytes"]) == (REQUESTED, reference, len(framed(given)))
    assert found["value"]["user_id"] == "u"
    # The list needs no S3: it would fetch every one of them.
    await show_all(away(ready), Filters(None, None, None, None, None, [given["event_id"]]), every=False, as_json=True)
    assert json.loads(capsys.readouterr().out)["reason"] == "invalid"


async def test_explain_says_where_a_value_lies_and_how_large_it_is(ready: Settings) -> None:
    given = fields()
    reference = await sent(ready, given)
    async with ingress.running(ready):

        async def disposed() -> bool:
            return await ingress.lag(ready) == 0

        await eventually(disposed, timeout=30)
    [requested] = [fact for fact in await explain(ready, given["event_id"], ["image"]) if fact.what == "requested"]
    assert (requested.details["dataref"], requested.details["bytes"]) == (reference, len(framed(given)))

    there = (topic_of(ready), 0, 0)
    fact, _ = await request(away(ready), given["event_id"], there)
    assert fact is not None
    assert fact.details["dataref"] == reference
    assert "S3 at http://127.0.0.1:1" in fact.details["not_readable"]
    assert await request(ready, uuid4(), there) == (None, None), "another event's record"


async def test_a_replay_knows_what_a_reference_would_do(ready: Settings) -> None:
    given, missing = fields(), fields()
    await sent(ready, given)
    await sent(ready, given)
    await refer(ready, f"s3://{ready.s3_bucket}/requests/gone", partition=0, sent=[("ce_id", str(missing["event_id"]).encode())])
    database = engine(ready.database_url)
    reader = Reader(load_routes(ready.routes_file), Topics(ready.topic_prefix), CATALOG.named(COMMAND))
    replay = Replay(ready, Wire(CATALOG), reader, database, await temporal.connect(ready), References(ready))
    wanted = await reading.ranges(ready, [topic_of(ready)])
    planned = [each async for chunk in replay.plan(wanted, {TopicPartition(topic_of(ready), 0): 3}) for each in chunk]
    await database.dispose()
    assert [each.outcome for each in planned] == [Outcome.START, Outcome.DUPLICATE, Outcome.REFUSED]
    assert (planned[2].why or "").startswith("reference_missing")


async def test_the_sender_of_a_run_that_is_gone_is_read_and_nobody_waits_for_s3(ready: Settings) -> None:
    given, now = fields(user_id="ada"), datetime.now(UTC)
    await sent(ready, given)
    event = OpenEvent(given["event_id"], REQUESTED, topic_of(ready), 0, 0, "image-x", None, now, None, 1)
    async with Requests(ready, Wire(CATALOG)) as requests:
        sender = await requests.sender(event)
    assert sender is not None
    assert (sender.user_id, sender.key) == ("ada", b"ada")
    async with Requests(away(ready), Wire(CATALOG)) as requests:
        sender = await requests.sender(event)
    assert sender is not None
    assert (sender.user_id, sender.key, sender.requested_at) == ("", b"ada", now)
