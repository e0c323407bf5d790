"""`docs/your-own-workflow.md` is followed to the letter: its files are written, its commands typed into a shell, on the real stack."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4, uuid5

import pytest

from headrace.completions import completions
from headrace.producer import RequestProducer
from headrace.settings import Settings
from headrace.wire import Wire
from schemas.ids import completion_id
from schemas.request import OpenRequest
from schemas.routes import load_routes
from tests.support.eventually import eventually
from tests.support.ingress import read_all
from tests.support.temporal_namespace import in_namespace_of_its_own

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "your-own-workflow.md").read_text("utf-8")
EXAMPLE = ROOT / "docs" / "examples" / "own_workflow"
FILES = dict(re.findall(r"^`([\w/.]+)`:\n\n```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
COMMANDS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
_MARK = "-- all of it is done --"


def test_the_page_shows_every_file_of_the_example_as_it_is() -> None:
    there = {
        str(path.relative_to(EXAMPLE)): path.read_text("utf-8") for path in EXAMPLE.rglob("*") if path.suffix in (".avsc", ".py", ".toml")
    }
    assert there == FILES


def test_the_namespace_of_completions_that_the_page_names_is_the_real_one() -> None:
    [namespace] = re.findall(r"namespace\n`([0-9a-f-]{36})`", PAGE)
    event_id = uuid4()
    assert uuid5(UUID(namespace), f"completion:{event_id}") == completion_id(event_id)


def environment(stack: dict[str, str], settings: Settings, folder: Path) -> dict[str, str]:
    """That of a shell with `headrace` on its path, pointed at the stack."""
    script = folder / "bin" / "headrace"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m headrace.cli.main "$@"\n')
    script.chmod(0o755)
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("HEADRACE_", "TEMPORAL_"))},
        **stack,
        "PATH": f"{script.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HEADRACE_STATE_DIR": str(folder / "state"),
        "HEADRACE_TOPIC_PREFIX": settings.topic_prefix,
        "HEADRACE_INGRESS_GROUP": settings.ingress_group,
        "HEADRACE_S3_BUCKET": settings.s3_bucket,
        "HEADRACE_DATABASE_URL": settings.database_url,
        "TEMPORAL_NAMESPACE": settings.temporal_namespace,
    }


class Shell:
    """One bash in which the page's commands are typed; what they start in the background ends with it."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def types(self, commands: str) -> str:
        """What the commands print. Fails when one of them fails."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{commands}\necho '{_MARK}'\n".encode())
        said: list[str] = []
        while not said or said[-1].strip() != _MARK:
            line = await self._process.stdout.readline()
            assert line, f"the shell ended: {''.join(said)}"
            said.append(line.decode())
        return "".join(said[:-1])


@contextlib.asynccontextmanager
async def shell(environment: dict[str, str], folder: Path) -> AsyncIterator[Shell]:
    process = await asyncio.create_subprocess_exec("bash", "-e", cwd=folder, env=environment, stdin=PIPE, stdout=PIPE, stderr=STDOUT)
    try:
        yield Shell(process)
    finally:
        if process.returncode is None:
            assert process.stdin is not None
            process.stdin.write(b"kill $(jobs -p) 2>/dev/null || true\nexit\n")
            process.stdin.close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), 20)


def objects(said: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in said.splitlines() if line.startswith("{")]


@pytest.mark.timeout(300)
async def test_a_team_that_follows_the_page_gets_its_completions(
    settings: Settings, stack_environment: dict[str, str], tmp_path: Path
) -> None:
    settings = await in_namespace_of_its_own(settings)
    folder = tmp_path / "docs" / "examples" / "own_workflow"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    enter, check, refused, run, ask, end = COMMANDS
    async with shell(environment(stack_environment, settings, tmp_path), tmp_path) as bash:
        await bash.types(enter)
        checked = await bash.types(check)
        assert "acme.orders.OrderRequested" in checked
        assert "wrong" not in checked
        [rehearsed] = objects(checked)
        assert (rehearsed["disposition"], rehearsed["task_queue"]) == ("started", "acme-orders")
        [rehearsed] = objects(await bash.types(refused))
        assert (rehearsed["disposition"], rehearsed["reason"]) == ("dead_lettered", "invalid")
        assert "orders.requests.dlq: made" in await bash.types(run)
        succeeded, failed = objects(await bash.types(ask))
        assert (succeeded["status"], succeeded["error"]) == ("SUCCEEDED", None)
        assert succeeded["result"]["order_number"] == f"A-{succeeded['event_id']}"
        assert datetime.fromisoformat(succeeded["result"]["ships_at"]) > datetime.now(UTC)
        assert (failed["status"], failed["error"]["code"], failed["result"]) == ("FAILED", "OutOfStock", None)
        await bad_records_are_told(settings.model_copy(update={"routes_file": folder / "routes.toml"}), UUID(succeeded["event_id"]))
        await bash.types(end)
    for service in ("ingress", "workers", "notifier"):
        log = (folder / f"{service}.log").read_text()
        assert "service_stopped" in log, log
        assert service == "workers" or "Traceback" not in log, log  # the SDK shows the trace of a step that fails


async def bad_records_are_told(settings: Settings, known: UUID) -> None:
    """A value outside of the limits, and the event ID of another event: what a sender without our checks puts on the topic."""
    wire = Wire(load_routes(settings.routes_file).catalog())
    bad = {"user_id": "eve", "requested_at": datetime.now(UTC), "item": "mill wheel"}
    sent = {"invalid": {**bad, "event_id": uuid4(), "quantity": 101}, "id_conflict": {**bad, "event_id": known, "quantity": 9}}
    async with RequestProducer(settings, wire) as producer:
        for fields in sent.values():
            await producer.send(OpenRequest.model_validate(fields), record="acme.orders.OrderRequested")

    async def told() -> dict[str, Any] | None:
        async with contextlib.aclosing(completions(settings, wire, ["orders"])) as found:
            rejected = [each.completion async for each in found if each.completion["status"] == "REJECTED"]
        by_reason = {each["error"]["code"]: each for each in rejected}
        return by_reason if by_reason.keys() == sent.keys() else None

    answers = await eventually(told, timeout=60, interval=0.5)
    assert answers is not None
    for reason, fields in sent.items():
        assert (answers[reason]["event_id"], answers[reason]["user_id"]) == (fields["event_id"], "eve")
    assert "less than or equal to 100" in answers["invalid"]["error"]["message"]
    assert len(await read_all(settings, f"{settings.topic_prefix}orders.requests.dlq")) == 2
