"""`headrace explain` as an operator uses it, against the whole running system."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from schemas.ids import completion_id
from tests.e2e.conftest import Command, System, lines
from tests.support.dead_letters import producing
from tests.support.eventually import eventually
from tests.support.ingress import fields, framed

_TRACE = "0af7651916cd43dd8448eb211c80319c"


async def told(here: Command, event_id: UUID, *wanted: str) -> list[dict[str, Any]]:
    """Its lines, once all of `wanted` are among them."""

    async def asked() -> list[dict[str, Any]]:
        answer = await here("explain", str(event_id), "--json")
        found = lines(answer.out)
        return found if set(wanted) <= {line["what"] for line in found} else []

    return await eventually(asked, timeout=120, interval=1.0)


async def completed(here: Command, event_id: UUID) -> None:
    answer = await here("completions", "image", "--event-id", str(event_id), "--follow", "--json")
    assert answer.code == 0, answer.err


def of(found: list[dict[str, Any]], what: str) -> list[dict[str, Any]]:
    return [line for line in found if line["what"] == what]


async def send(system: System, value: bytes, *, headers: list[tuple[str, bytes]] | None = None) -> str:
    async with producing(system.settings) as producer:
        place = await producer.send_and_wait("image.requests", value, key=b"ada", headers=headers or [])
    return f"{place.topic}:{place.partition}:{place.offset}"


async def test_a_failed_and_rerun_event_is_told_from_its_record_to_its_second_completion(system: System, here: Command) -> None:
    event_id = uuid4()
    sent = [("traceparent", f"00-{_TRACE}-b7ad6b7169203331-01".encode())]
    place = await send(system, framed(fields(event_id=event_id, prompt="how to make a pipe bomb")), headers=sent)
    await completed(here, event_id)
    await told(here, event_id, "completion_published", "run_ended")
    rerun = await here("dlq", "redrive", "--rerun-failed", "--event-id", str(event_id), "--follow")
    assert rerun.code == 0, rerun

    async def both() -> list[dict[str, Any]]:
        found = await told(here, event_id, "requested", "claimed", "started", "run_started", "run_ended", "rerun", "traced")
        return found if len(of(found, "completion_published")) == len(of(found, "run_ended")) == 2 else []

    found = await eventually(both, timeout=120, interval=1.0)
    assert {line["event_id"] for line in found} == {str(event_id)}
    assert of(found, "requested")[0]["where"] == of(found, "claimed")[0]["where"] == place
    assert of(found, "traced")[0]["details"]["trace_id"] == _TRACE
    assert any("ContentPolicyViolation" in cause for cause in of(found, "run_ended")[0]["details"]["causes"])
    assert [line["details"].get("generation") for line in of(found, "completion_published")] == [None, 2]
    assert of(found, "completion_published")[0]["where"].startswith("image.completions:")
    times = [line["at"] for line in found if line["at"] is not None]
    assert times == sorted(times)
    shown = await system.headrace("explain", str(event_id))
    assert shown.code == 0, shown.err
    assert "ContentPolicyViolation" in shown.out
    assert not of(found, "run_unknown")


async def test_a_refused_request_is_found_with_its_dead_letter_and_receipt(system: System, here: Command) -> None:
    event_id = uuid4()
    place = await send(system, framed(fields(event_id=event_id, prompt="")))
    found = await told(here, event_id, "dead_lettered", "requested")
    [dead] = of(found, "dead_lettered")
    assert dead["details"]["reason"] == "invalid"
    assert dead["details"]["record_at"] == place
    shown = await here("dlq", "show", dead["where"], "--json")
    assert shown.code == 0, shown
    assert lines(shown.out)[0]["event_id"] == str(event_id)
    listed = await here("completions", "image", "--event-id", str(event_id), "--follow", "--json")
    assert lines(listed.out)[0]["completion_id"] == dead["details"]["receipt_id"] != str(completion_id(event_id))
    status = await here("status", "--json")
    [ingress] = [part for part in lines(status.out) if part["part"] == "ingress"]
    assert ingress["dead_letters_by_reason"]["invalid"] >= 1


async def test_what_is_known_is_told_while_a_place_is_away(system: System, here: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    event_id = uuid4()
    place = await send(system, framed(fields(event_id=event_id)))
    await completed(here, event_id)
    await told(here, event_id, "completion_published", "run_ended")
    with monkeypatch.context() as patch:
        patch.setenv("HEADRACE_DATABASE_URL", "postgresql+asyncpg://u@127.0.0.1:1/none")
        found = await told(here, event_id, "run_ended", "not_asked")
        assert [line["where"] for line in of(found, "not_asked")] == ["database"]
        assert of(found, "requested")[0]["where"] == place, "the run knows its record too"
        unknown = await here("explain", str(uuid4()))
        assert unknown.code == 4
        assert "database cannot be asked" in unknown.err
        patch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
        nobody = await here("explain", str(event_id))
        assert nobody.code == 4
        assert "nobody could be asked" in nobody.err
    with monkeypatch.context() as patch:
        patch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
        patch.setenv("HEADRACE_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
        answer = await here("explain", str(event_id), "--json")
        assert answer.code == 0, answer.err
        found = lines(answer.out)
        assert {line["where"] for line in of(found, "not_asked")} == {"temporal", "kafka"}
        assert of(found, "completion_published")[0]["details"]["status"] == "SUCCEEDED"
        assert not of(found, "run_unknown"), "nobody has asked"


async def test_explain_ends_with_3_for_an_unknown_event_and_2_for_what_is_none(here: Command) -> None:
    unknown = await here("explain", str(uuid4()))
    assert (unknown.code, unknown.out) == (3, "")
    assert "nothing is known of" in unknown.err
    for wrong in ((), ("the last one",), (str(UUID(int=0)),), (str(uuid4()), str(uuid4()))):
        answer = await here("explain", *wrong)
        assert answer.code == 2, answer
        assert "Traceback" not in answer.err
