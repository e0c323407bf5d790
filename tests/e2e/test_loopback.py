"""What can be reached from another machine, and what other users of this one can see."""

from __future__ import annotations

import asyncio
import base64
import sys
from ipaddress import ip_address
from pathlib import Path

import pytest

from headrace.settings import STATE_DIR_VARIABLE
from headrace.stack.ports import Ports
from headrace.stack.state import S3_SECRET_ACCESS_KEY, StateFolder
from tests.e2e.conftest import System
from tests.support.eventually import eventually
from tests.support.listening import group_of, listened
from tests.support.planted import command_line


async def test_nothing_of_the_whole_stack_listens_beyond_this_machine(system: System) -> None:
    snapshot = StateFolder(system.folder).read_snapshot()
    assert snapshot is not None
    found = listened(group_of(snapshot.group))
    assert {part.pid for part in snapshot.parts} <= set(found.values()), "each part listens, or was not looked at"
    assert len(found) > 15, found
    beyond = {place: command_line(pid) for place, pid in found.items() if not place[0].is_loopback}
    assert not beyond


async def test_no_command_line_and_no_log_of_the_stack_has_a_key(system: System) -> None:
    snapshot = StateFolder(system.folder).read_snapshot()
    assert snapshot is not None
    lines = [command_line(pid) for pid in group_of(snapshot.group)]
    assert len(lines) >= 7
    assert not [line for line in lines if S3_SECRET_ACCESS_KEY in line]
    logs = sorted((system.folder / "logs").iterdir())
    assert {log.stem for log in logs} >= {"ingress", "workers", "notifier", "kafka", "s3", "temporal"}
    assert not [log for log in logs if S3_SECRET_ACCESS_KEY in log.read_text("utf-8", "replace")]


async def test_files_with_keys_are_their_users_alone(system: System) -> None:
    state = StateFolder(system.folder)
    assert S3_SECRET_ACCESS_KEY in state.env.read_text()
    assert {file.stat().st_mode & 0o777 for file in (state.env, state.state, state.ports)} == {0o600}


@pytest.mark.parametrize(
    ("module", "host", "given", "ports"),
    [
        ("headrace.codec_server", "127.0.0.1", ["--port", "0"], 1),
        ("workers", "127.0.0.1", ["--domain", "maintenance"], 2),
        ("workers", "127.0.0.2", ["--domain", "maintenance"], 2),
    ],
)
async def test_what_is_started_by_itself_listens_where_it_was_told_and_else_on_loopback(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, host: str, given: list[str], ports: int
) -> None:
    """The health endpoint, the SDK's metrics, the codec server."""
    chosen = Ports()
    try:
        monkeypatch.setenv(STATE_DIR_VARIABLE, str(system.folder))
        monkeypatch.setenv("HEADRACE_TEMPORAL_METRICS_PORT", str(chosen.choose("metrics").port))
        monkeypatch.setenv("HEADRACE_PAYLOAD_KEYS", f"k1:{base64.b64encode(b'k' * 32).decode()}")
        if host != "127.0.0.1":
            monkeypatch.setenv("HEADRACE_HEALTH_HOST", host)
        with (tmp_path / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", module, *given), stdout=log, stderr=log, stdin=asyncio.subprocess.DEVNULL
            )
        try:
            found = await eventually(lambda: len(listened([process.pid])) >= ports and listened([process.pid]), timeout=60, interval=0.2)
            assert {place[0] for place in found or {}} == {ip_address(host)}, found
        finally:
            process.kill()
            await process.wait()
    finally:
        chosen.close()
