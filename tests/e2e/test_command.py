"""The command as an operator or a shell script uses it, against the whole running system."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from headrace import breakers, temporal
from headrace.breakers import StoppedRoute
from headrace.settings import STATE_DIR_VARIABLE
from headrace.store import migrate
from headrace.store.engine import engine
from schemas import names
from tests.e2e.conftest import System, run_headrace

ROOT = Path(__file__).parents[2]
PARTS = {"kafka", "temporal", "temporal-ui", "s3", "ingress", "workers", "notifier"}


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


async def test_requests_fed_from_a_shell_come_back_as_completions(system: System) -> None:
    requests = [
        {"user_id": "shell", "prompt": f"A paper boat, number {number}", "backend": "local", "size": "128x128"} for number in range(3)
    ]
    produced = await system.headrace("produce", "ImageGenerationRequested", "--json", "-", stdin="\n".join(map(json.dumps, requests)))
    assert produced.code == 0, produced.err
    event_ids = produced.out.split()
    assert len({UUID(event_id) for event_id in event_ids}) == 3
    for event_id in event_ids:
        answer = await system.headrace("completions", "image", "--event-id", event_id, "--follow", "--json")
        assert answer.code == 0, answer.err
        [completion] = lines(answer.out)
        assert completion["event_id"] == event_id
        assert completion["status"] == "SUCCEEDED"
        assert completion["workflow_id"] == f"image-{event_id}"
        assert completion["user_id"] == "shell"
    listed = await system.headrace("completions", "--json")
    assert set(event_ids) <= {completion["event_id"] for completion in lines(listed.out)}


async def test_the_same_event_id_twice_is_one_completion(system: System) -> None:
    event_id = str(uuid4())
    request = json.dumps({"user_id": "twice", "prompt": "One and the same", "backend": "local", "size": "128x128"})
    for _ in range(2):
        produced = await system.headrace("produce", "ImageGenerationRequested", "--json", "-", "--event-id", event_id, stdin=request)
        assert (produced.code, produced.out.strip()) == (0, event_id)
    first = await system.headrace("completions", "image", "--event-id", event_id, "--follow", "--json")
    assert lines(first.out)[0]["status"] == "SUCCEEDED"
    listed = await system.headrace("completions", "image", "--json")
    assert [completion["event_id"] for completion in lines(listed.out)].count(event_id) == 1


async def test_a_client_that_imports_nothing_of_headrace_gets_its_completion(system: System, tmp_path: Path) -> None:
    # The topic has completions of other records too, which it must pass over.
    other = json.dumps({"user_id": "other", "prompts": ["Of another record"], "backend": "local", "size": "128x128"})
    produced = await system.headrace("produce", "BatchImageGenerationRequested", "--json", "-", stdin=other)
    told = await system.headrace("completions", "image", "--event-id", produced.out.strip(), "--follow", "--json")
    assert lines(told.out)[0]["status"] == "SUCCEEDED"
    script = tmp_path / "plain_client.py"
    script.write_text((ROOT / "docs/examples/plain_client.py").read_text())
    assert "headrace" not in [word.split(".")[0] for word in script.read_text().split() if word != "headrace"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", str(script), system.settings.kafka_bootstrap_servers, str(ROOT / "schemas/avro/image")),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    assert json.loads(out)["status"] == "SUCCEEDED"


async def test_a_command_from_a_shell_is_sent_and_has_an_event_id_of_its_own(system: System) -> None:
    target = str(uuid4())
    answer = await system.headrace("command", "cancel", target, "--reason", "nobody needs it")
    assert answer.code == 0, answer.err
    assert UUID(answer.out.strip()) != UUID(target)


async def test_status_shows_every_part_healthy(system: System) -> None:
    answer = await system.headrace("status", "--json")
    assert answer.code == 0, answer.err
    parts = {str(part["part"]): part for part in lines(answer.out)}
    assert set(parts) >= PARTS
    assert {part["health"] for part in parts.values()} == {"healthy"}
    assert all(isinstance(part["pid"], int) and part["address"] for part in parts.values())
    assert isinstance(parts["ingress"]["lag"], int)
    [notifier] = [line for line in lines(answer.out) if line["part"] == "notifier"]
    assert {"open_events", "unreconciled_events", "oldest_open_seconds", "reconcile_lag_seconds"} <= set(notifier)
    assert notifier["open_events"] is not None, "the database was asked"
    queues = {queue["queue"]: queue for queue in parts["workers"]["queues"]}  # type: ignore[attr-defined]
    assert queues[names.QUEUE_IMAGE]["workers"] >= 1
    assert queues[names.QUEUE_NOTIFICATIONS]["backlog"] >= 0
    schedules = {state["schedule"]: state for state in parts["temporal"]["schedules"]}  # type: ignore[attr-defined]
    assert set(schedules) == {names.SCHEDULE_MAINTENANCE, names.RECONCILE_SCHEDULE}
    assert all(state["there"] and state["next_run"] for state in schedules.values())
    assert parts["ingress"]["tables"] == migrate.newest()
    assert isinstance(parts["ingress"]["dispositions"], dict)
    assert isinstance(parts["ingress"]["dead_letters_by_reason"], dict)
    shown = await system.headrace("status")
    assert shown.code == 0
    assert "the reconciler is" in shown.out
    assert f"{names.QUEUE_IMAGE}: " in shown.out
    assert f"schedule {names.RECONCILE_SCHEDULE}: next" in shown.out


async def test_a_watched_status_goes_on_until_it_is_interrupted_and_then_ends_with_0(system: System) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "headrace.cli.main", "status", "--watch"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, STATE_DIR_VARIABLE: str(system.folder), "FORCE_COLOR": "1", "LINES": "60"},
        # A shell that starts the tests in the background has them, and what they start, ignore the signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    async with asyncio.timeout(90):
        shown = b""
        while shown.count(b"the reconciler is") < 2:  # looked at twice
            shown += await process.stdout.read(4096)
            assert process.returncode is None
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert process.returncode == 0, (out, err)
    assert b"Traceback" not in err
    both = await system.headrace("status", "--watch", "--json")
    assert (both.code, "--watch is for people" in both.err) == (2, True)


async def test_doctor_finds_nothing_wrong_after_setup(system: System) -> None:
    assert (await system.headrace("setup")).code == 0
    answer = await system.headrace("doctor", "--json")
    assert answer.code == 0, answer.out + answer.err
    verdicts = {str(finding["check"]): finding["verdict"] for finding in lines(answer.out)}
    assert {check for check, verdict in verdicts.items() if verdict == "ok"} >= {
        "kafka",
        "topics",
        "temporal",
        "s3",
        "database",
        "retention",
        "kafka rights",
        "temporal rights",
        "schedules",
        "task queues",
        "s3 rights",
        "database rights",
    }


async def test_doctor_says_how_a_paused_schedule_goes_on(system: System) -> None:
    client = await temporal.connect(system.settings)
    schedule = client.get_schedule_handle(names.SCHEDULE_MAINTENANCE)
    await schedule.pause(note="a quiet night")
    try:
        answer = await system.headrace("doctor", "--json")
        shown = await system.headrace("status")
    finally:
        await schedule.unpause()
    assert answer.code == 0, "a warning fails nothing"
    [found] = [finding for finding in lines(answer.out) if finding["check"] == "schedules"]
    assert found["verdict"] == "warning"
    assert "temporal schedule toggle --unpause" in str(found["detail"])
    assert "paused (a quiet night)" in shown.out


async def test_wrong_usage_ends_with_2_and_a_sentence(system: System) -> None:
    for arguments, stdin, says in (
        (("produce", "NoSuchRecord", "--json", "-"), "{}", "no route is for the record 'NoSuchRecord'"),
        (("produce", "ImageGenerationRequested", "--json", "-"), "{oops", "line 1 is not JSON"),
        (("produce", "ImageGenerationRequested", "--json", "-"), '{"user_id": "u", "prompt": ""}', "prompt: String should have at least 1"),
        (("produce", "ImageGenerationRequested", "--json", "/nowhere"), "", "/nowhere cannot be read"),
        (("completions", "weather"), "", "no route is of the domain 'weather'"),
        (("command", "terminate", str(uuid4())), "", "Invalid value for 'action'"),
        (("command", "pause", "the last one"), "", "Invalid value for 'EVENT_ID'"),
        (("command", "pause", str(UUID(int=0))), "", "the nil UUID identifies nothing"),
        (("nonsense",), "", "No such command"),
    ):
        answer = await system.headrace(*arguments, stdin=stdin)
        assert answer.code == 2, (arguments, answer)
        assert says in answer.err
        assert "Traceback" not in answer.err


async def test_an_event_that_nobody_has_seen_ends_with_3(system: System) -> None:
    answer = await system.headrace("completions", "image", "--event-id", str(uuid4()))
    assert answer.code == 3
    assert "no completion of" in answer.err


async def test_nothing_running_ends_with_4(tmp_path: Path) -> None:
    status = await run_headrace(tmp_path, "status")
    assert status.code == 4
    assert (await run_headrace(tmp_path, "status", "--watch")).code == 4
    assert "headrace up" in status.err


def stopped(route: str, topic: str = "image.requests") -> StoppedRoute:
    return StoppedRoute(route, topic, "50 dead letters in a row, the last: invalid: [bold]prompt", datetime.now(UTC))


@asynccontextmanager
async def database(url: str) -> AsyncIterator[AsyncEngine]:
    made = engine(url)
    await migrate.upgrade(made)
    yield made
    await made.dispose()


async def test_routes_of_a_database_that_is_away_end_with_4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_DATABASE_URL", "postgresql+asyncpg://u:secret@127.0.0.1:1/none")
    answer = await run_headrace(tmp_path, "route", "resume", "--all")
    assert answer.code == 4, answer
    assert "HEADRACE_DATABASE_URL" in answer.err
    assert "secret" not in answer.err
    assert "Traceback" not in answer.err


async def test_status_says_which_routes_are_stopped_and_how_they_go_on(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    route = stopped("headrace.nowhere.NothingRequested", "nowhere.requests")  # of a topic that nobody reads
    async with database(system.settings.database_url) as store:
        await breakers.stop(store, route)
        answer = await system.headrace("status", "--json")
        [ingress] = [part for part in lines(answer.out) if part["part"] == "ingress"]
        assert ingress["stopped_routes"] == [
            {
                "route": route.route,
                "topic": route.topic,
                "cause": route.cause,
                "tripped_at": route.tripped_at.isoformat(),
                "resume": f"headrace route resume {route.route}",
            }
        ]
        shown = await system.headrace("status")
        assert route.cause in shown.out
        assert f"headrace route resume {route.route}" in shown.out
        resumed = await system.headrace("route", "resume", "NothingRequested")
        assert (resumed.code, resumed.out.split(" goes on;")[0]) == (0, route.route)
        again = await system.headrace("route", "resume", "NothingRequested")
        assert (again.code, again.err) == (3, "headrace: NothingRequested is not stopped; no route is\n")
    after = await system.headrace("status", "--json")
    assert after.code == 0, after.err
    assert [part["stopped_routes"] for part in lines(after.out) if part["part"] == "ingress"] == [[]]
    monkeypatch.setenv("HEADRACE_DATABASE_URL", "postgresql+asyncpg://u@127.0.0.1:1/none")
    away = await system.headrace("status", "--json")
    assert away.code == 0, away.err
    assert [part["stopped_routes"] for part in lines(away.out) if part["part"] == "ingress"] == [None]
