"""`headrace dlq` and `headrace replay` as an operator uses them, against the whole running system."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete

from headrace import breakers, temporal
from headrace.breakers import StoppedRoute
from headrace.store.engine import engine
from headrace.store.tables import LEDGER
from schemas import headers
from schemas.errors import Reason, Rejected
from schemas.ids import completion_id
from tests.e2e.conftest import Command, System, lines
from tests.support.dead_letters import producing
from tests.support.eventually import eventually
from tests.support.ingress import fields, framed
from workers.transaction.accounts import Account, account, grant, set_stock
from workers.transaction.audit import audit

TOPIC, DEAD = "image.requests", "image.requests.dlq"


async def bury(
    system: System, value: bytes, *, key: bytes = b"ada", reason: Reason = Reason.UNROUTABLE, sent: headers.Headers | None = None
) -> str:
    """A dead letter as the ingress writes it; where it is."""
    added = headers.dead_letter(
        sent or [], Rejected(reason, "no \x1b[31mroute"), topic=TOPIC, partition=2, offset=7, time=datetime.now(UTC)
    )
    async with producing(system.settings) as producer:
        place = await producer.send_and_wait(DEAD, value, key=key, headers=added)
    return f"{place.topic}:{place.partition}:{place.offset}"


async def completed(here: Command, event_id: UUID, domain: str = "image") -> dict[str, Any]:
    answer = await here("completions", domain, "--event-id", str(event_id), "--follow", "--json")
    assert answer.code == 0, answer.err
    return lines(answer.out)[0]


async def listed(here: Command, event_id: UUID, *more: str) -> list[dict[str, Any]]:
    answer = await here("dlq", "list", "--event-id", str(event_id), "--json", *more)
    assert answer.code == 0, answer.err
    return lines(answer.out)


async def test_a_dead_letter_is_listed_shown_sent_again_once_and_then_completed(system: System, here: Command) -> None:
    event_id = uuid4()
    place = await bury(system, framed(fields(event_id=event_id)))
    [found] = await listed(here, event_id)
    topic, partition, offset = place.split(":")
    time = found.pop("time")
    assert datetime.fromisoformat(time).tzinfo is not None
    assert found == {
        "topic": topic,
        "partition": int(partition),
        "offset": int(offset),
        "reason": "unroutable",
        "message": "no \x1b[31mroute",
        "event_id": str(event_id),
        "key": "ada",
        "original_topic": TOPIC,
        "original_partition": 2,
        "original_offset": 7,
        "redrives": 0,
        "state": "open",
    }
    [line] = (await system.headrace("dlq", "list", "--event-id", str(event_id))).out.splitlines()
    assert place in line
    assert "\x1b" not in line  # a stranger's text moves no terminal's cursor
    shown = lines((await system.headrace("dlq", "show", place, "--json")).out)[0]
    assert shown["value"]["prompt"] == "A mill"
    assert shown["record"] == "headrace.image.ImageGenerationRequested"
    assert ["dlq_reason", "unroutable"] in shown["headers"]
    assert '"prompt": "A mill"' in (await system.headrace("dlq", "show", place)).out

    counted = await system.headrace("dlq", "redrive", "--event-id", str(event_id), "--dry-run", "--json")
    assert counted.code == 0, counted.err
    assert {(row["by"], row["value"], row["count"]) for row in lines(counted.out)} == {
        ("reason", "unroutable", 1),
        ("route", "headrace.image.ImageGenerationRequested", 1),
        ("age", "less than an hour", 1),
    }
    assert [found["state"] for found in await listed(here, event_id)] == ["open"]

    sent = await system.headrace("dlq", "redrive", "--event-id", str(event_id), "--json")
    assert sent.code == 0, sent.err
    [done] = lines(sent.out)
    assert (done["sent"], done["parked"]) == (1, 0)
    assert (await completed(here, event_id))["status"] == "SUCCEEDED"
    assert await listed(here, event_id) == []
    [known] = await listed(here, event_id, "--all")
    assert known["state"] == "redriven"
    after = lines((await here("dlq", "show", place, "--json")).out)[0]
    assert (after["to_topic"], after["to_partition"]) == (TOPIC, 2)
    assert f"redrive-{after['redrive_id']}" == done["workflow_id"]
    again = await here("dlq", "redrive", "--event-id", str(event_id))
    assert (again.code, "no open dead letter is one of these" in again.err) == (3, True)


async def test_a_redrive_is_detached_watched_and_cancelled(system: System, here: Command) -> None:
    key = f"slow-{uuid4()}"
    for _ in range(4):
        await bury(system, b"not Avro", key=key.encode(), reason=Reason.UNDECODABLE)
    started = await system.headrace("dlq", "redrive", "--key", key, "--rate", "0.01", "--detach")
    assert started.code == 0, started.err
    identity = started.out.strip()

    async def running() -> bool:
        answer = await here("dlq", "progress", identity, "--json")
        return answer.code == 0 and lines(answer.out)[0]["state"] == "running"

    await eventually(running, timeout=60)
    assert (await system.headrace("dlq", "cancel", identity)).code == 0
    watched = await system.headrace("dlq", "progress", identity, "--follow")
    assert watched.code == 1
    assert "did not come to its end" in watched.err
    assert (await system.headrace("dlq", "cancel", identity)).code == 3
    ended = await system.headrace("dlq", "progress", identity)
    assert (ended.code, " cancelled: " in ended.out) == (0, True), ended


async def test_a_value_that_cannot_be_read_is_shown_as_bytes(system: System) -> None:
    place = await bury(system, b"\x00\xffnot Avro", key=b"\xff", reason=Reason.UNDECODABLE)
    shown = lines((await system.headrace("dlq", "show", place, "--json")).out)[0]
    assert base64.b64decode(shown["value_base64"]) == b"\x00\xffnot Avro"
    assert (shown["value"], shown["key"], shown["value_bytes"]) == (None, "base64:/w==", 10)


async def test_a_stopped_route_is_named_with_the_command_that_resumes_it(system: System) -> None:
    await bury(system, b"x")
    database = engine(system.settings.database_url)
    route = StoppedRoute("headrace.image.NowhereRequested", TOPIC, "50 in a row", datetime.now(UTC))
    await breakers.stop(database, route)
    try:
        answer = await system.headrace("dlq", "redrive", "--all")
    finally:
        await breakers.resume(database, route.route)
        await database.dispose()
    assert answer.code == 1
    assert f"headrace route resume {route.route}" in answer.err


async def test_a_failed_run_is_started_anew_and_its_completion_names_the_generation(system: System, here: Command) -> None:
    request = {"user_id": "again", "prompt": "how to make a pipe bomb", "backend": "local", "size": "128x128"}
    produced = await system.headrace("produce", "ImageGenerationRequested", "--json", "-", stdin=json.dumps(request))
    event_id = UUID(produced.out.strip())
    first = await completed(here, event_id)
    assert (first["status"], first["error"]["code"]) == ("FAILED", "ContentPolicyViolation")
    selected = ("dlq", "redrive", "--rerun-failed", "--event-id", str(event_id), "--json")

    async def visible() -> bool:
        dry = await here(*selected, "--dry-run")
        return dry.code == 0 and lines(dry.out)[0]["codes"] == {"ContentPolicyViolation": 1}

    await eventually(visible, timeout=60)
    other = await system.headrace(*selected, "--code", "BackendRefused")
    assert (lines(other.out)[0]["started"], lines(other.out)[0]["other_code"]) == (0, 1)
    rerun = await system.headrace(*selected, "--code", "ContentPolicyViolation")
    assert rerun.code == 0, rerun.err
    assert lines(rerun.out)[0]["started"] == 1

    async def both() -> list[dict[str, Any]]:
        every = lines((await here("completions", "image", "--json")).out)
        found = [completion for completion in every if completion["event_id"] == str(event_id)]
        return found if len(found) == 2 else []

    of_both = await eventually(both, timeout=60)
    assert len({completion["completion_id"] for completion in of_both}) == 2
    assert len({completion["run_id"] for completion in of_both}) == 2
    assert len({completion["workflow_id"] for completion in of_both}) == 1


async def test_a_purchase_that_was_sold_out_is_made_when_it_is_started_anew(system: System, here: Command) -> None:
    database = engine(system.settings.database_url)
    await grant(database, "again", 100, "first")
    await set_stock(database, "a lamp", 0)
    request = {"user_id": "again", "amount": 30, "item": "a lamp", "reference": "invoice 7"}
    produced = await system.headrace("produce", "TransactionRequested", "--json", "-", stdin=json.dumps(request))
    event_id = UUID(produced.out.strip())
    first = await completed(here, event_id, "transaction")
    assert (first["status"], first["error"]["code"]) == ("FAILED", "ItemSoldOut")
    await set_stock(database, "a lamp", 1)

    async def started() -> bool:
        answer = await here("dlq", "redrive", "--rerun-failed", "--event-id", str(event_id), "--code", "ItemSoldOut", "--json")
        return answer.code == 0 and lines(answer.out)[0]["started"] == 1

    await eventually(started, timeout=60)

    async def second() -> list[dict[str, Any]]:
        every = lines((await here("completions", "transaction", "--json")).out)
        return [each for each in every if each["event_id"] == str(event_id) and each["completion_id"] == str(completion_id(event_id, 2))]

    [again] = await eventually(second, timeout=60)
    assert (again["status"], again["error"], again["result"]["balance_after"]) == ("SUCCEEDED", None, 70)
    assert again["result"]["transaction_id"] == f"transaction-{event_id}:2"
    assert await account(database, "again") == Account("again", 70, 0)
    assert await audit(database) == []
    await database.dispose()


async def test_replay_says_what_it_would_start_and_then_starts_it(system: System, here: Command) -> None:
    request = {"user_id": "replay", "prompt": "Twice", "backend": "local", "size": "128x128"}
    begun = datetime.now(UTC).isoformat()
    event_ids = [
        UUID((await system.headrace("produce", "ImageGenerationRequested", "--json", "-", stdin=json.dumps(request))).out.strip())
        for _ in range(2)
    ]
    for event_id in event_ids:
        await completed(here, event_id)
    await eventually(lambda: outcomes(here, begun, event_ids, "duplicate"), timeout=60)
    database = engine(system.settings.database_url)
    async with database.begin() as connection:
        await connection.execute(delete(LEDGER).where(LEDGER.c.event_id == event_ids[0]))
    await database.dispose()
    # Temporal still knows its run.
    await eventually(lambda: outcomes(here, begun, event_ids, "duplicate"), timeout=60)
    client = await temporal.connect(system.settings)
    await client.workflow_service.delete_workflow_execution(deletion(client.namespace, f"image-{event_ids[0]}"))
    await eventually(lambda: outcomes(here, begun, event_ids[:1], "start"), timeout=60)
    unasked = await system.headrace("replay", TOPIC, "--from", begun)
    assert (unasked.code, "--yes does it" in unasked.err) == (2, True)
    done = await system.headrace("replay", TOPIC, "--from", begun, "--yes", "--json")
    assert done.code == 0, done.err
    assert lines(done.out)[-1] == {"sent": 1}
    await eventually(lambda: outcomes(here, begun, event_ids, "duplicate"), timeout=60)


def deletion(namespace: str, workflow_id: str) -> Any:
    from temporalio.api.common.v1 import WorkflowExecution
    from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest

    return DeleteWorkflowExecutionRequest(namespace=namespace, workflow_execution=WorkflowExecution(workflow_id=workflow_id))


async def outcomes(here: Command, begun: str, event_ids: list[UUID], expected: str) -> bool:
    answer = await here("replay", TOPIC, "--from", begun, "--plan", "--json")
    assert answer.code == 0, answer.err
    found = {row["event_id"]: row["outcome"] for row in lines(answer.out)}
    return all(found.get(str(event_id)) == expected for event_id in event_ids)


async def test_wrong_usage_ends_with_2_and_a_sentence(here: Command) -> None:
    for arguments, says in (
        (("dlq", "list", "--reason", "bad"), "Invalid value for '--reason'"),
        (("dlq", "list", "--topic", "nowhere"), "'nowhere' is no request topic; there are: analysis.requests"),
        (("dlq", "list", "--since", "yesterday"), "--since 'yesterday' is no ISO time"),
        (("dlq", "list", "--event-id", "7"), "Invalid value for '--event-id'"),
        (("dlq", "show", "image.requests.dlq"), "is no TOPIC:PARTITION:OFFSET"),
        (("dlq", "show", "image.requests.dlq:0:-1"), "is no TOPIC:PARTITION:OFFSET"),
        (("dlq", "redrive"), "which dead letters?"),
        (("dlq", "redrive", "--topic", "image.requests"), "which dead letters?"),
        (("dlq", "redrive", "--all", "--rate", "0"), "Invalid value for '--rate'"),
        (("dlq", "redrive", "--all", "--code", "Internal"), "--domain and --code are for --rerun-failed"),
        (("dlq", "redrive", "--rerun-failed"), "which failed runs?"),
        (("dlq", "redrive", "--rerun-failed", "--all", "--reason", "invalid"), "are for dead letters"),
        (("dlq", "redrive", "--rerun-failed", "--all", "--domain", "weather"), "no route is of the domain 'weather'"),
        (("dlq", "progress", "image-1"), "'image-1' is no redrive's ID"),
        (("dlq", "cancel", f"image-{uuid4()}"), "is no redrive's ID"),
        (("replay", "weather.requests", "--from", "earliest"), "'weather.requests' is no request topic"),
        (("replay", DEAD, "--from", "earliest"), "holds dead letters"),
        (("replay", TOPIC), "Missing option '--from'"),
        (("replay", TOPIC, "--from", "soon"), "--from 'soon' is no ISO time"),
        (("replay", TOPIC, "--from", "99:0"), "there is no partition 99"),
        (("replay", TOPIC, "--from", "0:0", "--from", "5"), "takes several PARTITION:OFFSET"),
    ):
        answer = await here(*arguments)
        assert answer.code == 2, (arguments, answer)
        assert says in answer.err, (arguments, answer.err)
        assert "Traceback" not in answer.err


async def test_what_is_not_there_ends_with_3(system: System, here: Command) -> None:
    nobody = str(uuid4())
    cases: tuple[tuple[str, ...], ...] = (
        ("dlq", "show", "image.requests.dlq:0:999999"),
        ("dlq", "show", "nowhere:0:0"),
        ("dlq", "redrive", "--event-id", nobody, "--dry-run"),
        ("dlq", "redrive", "--rerun-failed", "--event-id", nobody),
        ("dlq", "progress", f"redrive-{nobody}"),
        ("dlq", "cancel", f"rerun-{nobody}"),
        ("replay", TOPIC, "--from", "2100-01-01"),
    )
    await bury(system, b"x")
    for arguments in cases:
        answer = await here(*arguments)
        assert answer.code == 3, (arguments, answer)
        assert "Traceback" not in answer.err


async def test_a_part_that_is_away_ends_with_4(here: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_DATABASE_URL", "postgresql+asyncpg://u:secret@127.0.0.1:1/none")
    monkeypatch.setenv("HEADRACE_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    cases: tuple[tuple[str, ...], ...] = (
        ("dlq", "list"),
        ("dlq", "show", "image.requests.dlq:0:0"),
        ("dlq", "redrive", "--all"),
        ("dlq", "redrive", "--rerun-failed", "--all"),
        ("dlq", "progress", "redrive-1"),
        ("dlq", "cancel", "redrive-1"),
        ("replay", TOPIC, "--from", "earliest", "--plan"),
    )
    for arguments in cases:
        answer = await here(*arguments)
        assert answer.code == 4, (arguments, answer)
        assert "secret" not in answer.err
        assert "Traceback" not in answer.err
