"""What the database and Temporal say of an event: found by indexes alone, and with everything that a run went through."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio import workflow
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from headrace import figures, setup, temporal
from headrace.explain import rows, runs
from headrace.explain.facts import Fact
from headrace.settings import Settings
from headrace.store.insert import insert_once
from headrace.store.tables import COMPLETIONS, DEAD_LETTERS, LEDGER, OPEN_EVENTS, REDRIVES, RERUNS
from ingress.ledger import Burial, Claim, Ledger
from schemas import ids, names
from schemas.command import Command
from schemas.image import ImageGenerationRequested
from schemas.request import Accepted, Origin
from tests.support.eventually import eventually
from tests.support.ingress import REQUESTED, fields
from tests.support.temporal_namespace import in_namespace_of_its_own

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@workflow.defn(name="FailsWhenToldTo")
class FailsWhenToldTo:
    """Fails once it is told to."""

    def __init__(self) -> None:
        self._told = False

    @workflow.signal
    def cancel(self, _: Command) -> None:
        self._told = True

    @workflow.run
    async def run(self, _: Accepted[ImageGenerationRequested]) -> None:
        await workflow.wait_condition(lambda: self._told)
        try:
            raise ValueError("the backend said no")
        except ValueError as error:
            raise ApplicationError("no image", type="BackendRefused", non_retryable=True) from error


def burial(event_id: UUID | None, *, offset: int = 7, dlq_offset: int = 0, reason: str = "invalid") -> Burial:
    return Burial("image.requests", 2, offset, event_id, reason, "prompt: is empty", "image.requests.dlq", 4, dlq_offset, uuid4())


async def buried(store: AsyncEngine) -> list[Any]:
    async with store.connect() as connection:
        return list((await connection.execute(select(DEAD_LETTERS).order_by(DEAD_LETTERS.c.offset))).all())


def of(facts: list[Fact], what: str) -> list[Fact]:
    return [fact for fact in facts if fact.what == what]


async def test_a_record_that_is_dead_lettered_again_after_a_crash_is_one_row_that_names_the_last_dead_letter(store: AsyncEngine) -> None:
    event_id = uuid4()
    async with Ledger(store) as ledger:
        await asyncio.gather(*(ledger.bury(burial(event_id, dlq_offset=offset)) for offset in range(3)))
        await ledger.bury(burial(event_id, dlq_offset=9))
        await ledger.bury(burial(None, offset=8))
    first, second = await buried(store)
    assert (first.event_id, first.dlq_topic, first.dlq_partition, first.dlq_offset) == (event_id, "image.requests.dlq", 4, 9)
    assert second.event_id is None


async def test_a_dead_letter_and_the_claim_of_its_event_share_a_transaction_without_a_wait(store: AsyncEngine) -> None:
    event_id = uuid4()
    async with Ledger(store) as ledger:
        claim = Claim(event_id, REQUESTED, bytes(32), "image.requests", 0, 1)
        entry, _ = await asyncio.gather(ledger.claim(claim), ledger.bury(burial(event_id)))
        await asyncio.gather(ledger.settle(event_id, "rejected", None, None), ledger.bury(burial(event_id)))
    assert entry.disposition == "pending"
    facts = await rows.facts(store, event_id)
    assert [fact.what for fact in facts] == ["claimed", "rejected", "dead_lettered"]


async def test_every_row_of_an_event_is_told_and_none_of_another(store: AsyncEngine) -> None:
    event_id = uuid4()
    for each in (event_id, uuid4()):
        place = {"topic": "image.requests", "partition": 0, "offset": 5}
        kept: list[tuple[Any, dict[str, Any]]] = [
            (LEDGER, {**place, "record": REQUESTED, "payload_sha256": bytes(32), "disposition": "started", "workflow_id": f"image-{each}"}),
            (OPEN_EVENTS, {**place, "record": REQUESTED, "workflow_id": f"image-{each}", "next_check": NOW}),
        ]
        async with store.begin() as connection:
            for table, row in kept:
                await insert_once(connection, table, {**row, "event_id": each, "claimed_at": NOW})
            for generation in (1, 2):
                done = {"record": "r", "status": "FAILED", "decided_at": NOW, "published_at": NOW if generation == 1 else None}
                at = {"topic": "image.completions", "partition": 1, "offset": 6}
                await insert_once(
                    connection, COMPLETIONS, {**at, **done, "completion_id": ids.completion_id(each, generation), "event_id": each}
                )
            again = {"workflow_id": f"image-{each}", "failed_run_id": "f", "rerun_id": uuid4(), "run_id": "g", "claimed_at": NOW}
            await insert_once(connection, RERUNS, {**again, "event_id": each, "generation": 2})
            sent = {"state": "redriven", "reason": "invalid", "redrive_id": uuid4(), "redrives": 1, "claimed_at": NOW, "settled_at": NOW}
            to = {"to_topic": "image.requests", "to_partition": 0, "to_offset": 5, "to_offset_at_least": 0}
            await insert_once(connection, REDRIVES, {**place, **sent, **to, "dead_letter_id": uuid4(), "event_id": each})
        async with Ledger(store) as ledger:
            await ledger.bury(burial(each, offset=each.int % 1000))
    found = await rows.facts(store, event_id)
    assert sorted(fact.what for fact in found) == sorted(
        [
            "claimed",
            "started",
            "completion_decided",
            "completion_decided",
            "completion_published",
            "dead_lettered",
            "redrive",
            "rerun",
            "open",
        ]
    )
    assert [fact.details.get("generation") for fact in of(found, "completion_decided")].count(2) == 1
    assert of(found, "completion_published")[0].where == "image.completions:1:6"
    assert of(found, "redrive")[0].where == "image.requests:0:5"
    assert await rows.facts(store, uuid4()) == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_an_event_is_looked_up_by_indexes_alone_however_many_there_are(store: AsyncEngine) -> None:
    compiled = [
        statement.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}) for statement, _ in rows.statements(uuid4())
    ]
    assert len(compiled) == 7
    async with store.connect() as connection:
        for statement in compiled:
            plan = (await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}")).all()
            assert plan
            assert all(step.detail.startswith("SEARCH ") and "USING" in step.detail for step in plan), plan


async def test_dead_letters_are_counted_by_reason_and_old_ones_are_not(store: AsyncEngine, database_url: str) -> None:
    now = datetime.now(UTC)
    async with Ledger(store, now=lambda: now - figures.REASONS_SINCE - timedelta(minutes=1)) as ledger:
        await ledger.bury(burial(uuid4(), offset=1, reason="unroutable"))
    async with Ledger(store, now=lambda: now) as ledger:
        for offset, reason in ((2, "invalid"), (3, "invalid"), (4, "undecodable")):
            await ledger.bury(burial(None, offset=offset, reason=reason))
    assert await figures.dead_letters_by_reason(Settings.model_validate({"database_url": database_url})) == {"invalid": 2, "undecodable": 1}


async def test_a_run_tells_its_signals_and_why_it_failed_and_what_ended_it(settings: Settings) -> None:
    settings = await in_namespace_of_its_own(settings)
    await setup._search_attributes(settings, lambda _: None)
    client, queue = await temporal.connect(settings), f"q-{uuid4()}"
    failed, ended, command = uuid4(), uuid4(), uuid4()
    async with Worker(client, task_queue=queue, workflows=[FailsWhenToldTo], workflow_runner=UnsandboxedWorkflowRunner()):
        for event_id in (failed, ended):
            await start(client, queue, event_id)
        handle = client.get_workflow_handle(ids.workflow_id("image", failed))
        await handle.signal("cancel", Command(event_id=command, reason="enough"))
        with contextlib.suppress(WorkflowFailureError):
            await handle.result()
        await client.get_workflow_handle(ids.workflow_id("image", ended)).terminate(reason="by hand")

        async def closed() -> runs.Runs | None:
            found = await runs.runs(client, failed, ["image", "analysis"])
            return found if of(found.facts, "run_ended") else None

        found = await eventually(closed, timeout=30)
        killed = await runs.runs(client, ended, ["image"])
    assert found is not None
    assert [fact.what for fact in found.facts] == ["run_started", "signal_received", "run_ended"]
    assert found.facts[1].details == {"signal": "cancel", "command_event_id": str(command), "reason": "enough"}
    assert found.facts[2].details["causes"] == ["BackendRefused: no image", "ValueError: the backend said no"]
    assert (found.request_at, found.traceparent) == (("image.requests", 1, 2), "00-" + "a" * 32 + "-" + "b" * 16 + "-01")
    assert killed.facts[-1].details["reason"] == "by hand"
    assert (await runs.runs(client, uuid4(), ["image"])).facts == []


async def start(client: Client, queue: str, event_id: UUID) -> None:
    request = ImageGenerationRequested.model_validate(fields(event_id=event_id))
    origin = Origin(topic="image.requests", partition=1, offset=2, traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01")
    accepted: Accepted[Any] = Accepted(request=request, origin=origin)
    key = SearchAttributeKey.for_keyword(names.SEARCH_ATTRIBUTE_EVENT_ID)
    await client.start_workflow(
        "FailsWhenToldTo",
        accepted,
        id=ids.workflow_id("image", event_id),
        task_queue=queue,
        search_attributes=TypedSearchAttributes([SearchAttributePair(key, str(event_id))]),
    )
