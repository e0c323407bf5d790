"""What the supervisor writes down, and the claims on a state folder."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dotenv import dotenv_values

from headrace.stack import control
from headrace.stack.errors import StackError
from headrace.stack.folder import Claim
from headrace.stack.installed import program
from headrace.stack.part import part_environment, service_environment
from headrace.stack.state import Addresses, PartState, Snapshot, StateFolder, tail
from headrace.stack.supervised import Backoff, move_aside_if_long

PART = PartState("kafka", 17, "127.0.0.1:9092", "part", "tcp://127.0.0.1:9092", "/logs/kafka.log", ready=True)
WAITING = PartState("ingress", None, "http://127.0.0.1:1", "service", "http://127.0.0.1:1/readyz", "/logs/ingress.log", ready=False)
HOLD = """
import pathlib, sys, time
from headrace.stack.lock import FileLock
lock = FileLock(pathlib.Path(sys.argv[1]))
lock.take()
lock.write_pid()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    return StateFolder(tmp_path)


@pytest.fixture
def holder(state: StateFolder) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the supervisor's lock."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(state.supervisor_lock)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_what_is_written_is_read_back(state: StateFolder) -> None:
    state.write_snapshot(Snapshot(1, 2, True, (PART, WAITING)))
    assert state.read_snapshot() == Snapshot(1, 2, True, (PART, WAITING))
    assert control.read_state(state.path) == [PART, WAITING]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"supervisor": 1, "group": 2, "ready": true, "parts": [{"kind": "other"}]}'])
def test_a_damaged_state_file_is_as_good_as_none(state: StateFolder, text: str) -> None:
    state.state.write_text(text)
    assert state.read_snapshot() is None


@pytest.mark.parametrize("text", ["", "[]", '{"kafka": "x"}'])
def test_a_damaged_ports_file_is_as_good_as_none(state: StateFolder, text: str) -> None:
    state.ports.write_text(text)
    assert state.read_ports() == {}


def test_the_env_file_holds_the_addresses(state: StateFolder) -> None:
    addresses = Addresses("127.0.0.1:1", "127.0.0.1:2", "http://127.0.0.1:3", "http://127.0.0.1:4", state.database)
    state.write_env(addresses.environment())
    assert dotenv_values(state.env) == addresses.environment()
    assert addresses.environment()["HEADRACE_DATABASE_URL"] == f"sqlite+aiosqlite:///{state.database}"
    state.forget_running()
    assert not state.env.exists()


def test_the_users_temporal_does_not_reach_the_parts_and_services(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("TEMPORAL_API_KEY", "TEMPORAL_TLS", "HEADRACE_WORKER_DEPLOYMENT"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("HEADRACE_TOPIC_PREFIX", "mine.")
    service, part = service_environment({"TEMPORAL_ADDRESS": "here"}), part_environment(tmp_path, tmp_path)
    assert "TEMPORAL_API_KEY" not in service
    assert "HEADRACE_WORKER_DEPLOYMENT" not in service, "its runs would wait: nobody sets a version current there"
    assert service["TEMPORAL_ADDRESS"] == "here"
    assert service["HEADRACE_TOPIC_PREFIX"] == "mine."
    assert not [name for name in part if name.startswith(("TEMPORAL_", "HEADRACE_"))]


async def test_a_second_stack_in_a_folder_is_refused_with_the_first_ones_pid(state: StateFolder, holder: subprocess.Popen[bytes]) -> None:
    with pytest.raises(StackError, match=f"already running .* as pid {holder.pid}"):
        await Claim(state).take(print)
    assert control.running(state.path)


async def test_a_pid_file_left_by_kill_9_does_not_refuse_the_next_stack(state: StateFolder, holder: subprocess.Popen[bytes]) -> None:
    holder.kill()
    holder.wait()
    assert not control.running(state.path)
    claim = Claim(state)
    await claim.take(print)
    assert state.supervisor_lock.read_text().strip() == str(os.getpid())
    claim.release()


def test_a_supervisor_that_ends_in_the_background_is_an_error_in_its_own_words(state: StateFolder, holder: subprocess.Popen[bytes]) -> None:
    with pytest.raises(StackError, match=f"^a stack is already running in .* as pid {holder.pid}"):
        control.detach(state.path)


def test_down_ends_the_supervisor_and_waits_for_it(state: StateFolder, holder: subprocess.Popen[bytes]) -> None:
    assert control.down(state.path, timeout=10.0)
    assert holder.wait(10.0) != 0
    assert not control.down(state.path)


def test_down_after_kill_9_says_so_and_cleans_up(state: StateFolder) -> None:
    state.write_snapshot(Snapshot(1, 0, True, (PART,)))
    state.write_env({"A": "1"})
    lines: list[str] = []
    assert not control.down(state.path, say=lines.append)
    assert "had been killed" in lines[0]
    assert control.read_state(state.path) == []
    assert not state.env.exists()


async def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StackError, match="make it writable or set HEADRACE_STATE_DIR"):
        await Claim(StateFolder(tmp_path / "file" / "state")).take(print)
    with pytest.raises(StackError, match="make it writable or set HEADRACE_STATE_DIR"):
        control.detach(tmp_path / "file" / "state")


async def test_a_nearly_full_disk_is_named_and_the_claim_given_back(state: StateFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 10**12 - 77, 77))
    with pytest.raises(StackError, match="has 77 bytes left"):
        await Claim(state).take(print)
    assert not control.running(state.path)


def test_a_platform_without_the_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(StackError, match="Linux and macOS on x86-64 and ARM64"):
        program("no-such-program", "no-such-package")


async def test_a_part_whose_process_is_gone_is_down() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    await process.wait()
    assert await control.probe(WAITING) == "down"
    assert await control.probe(PartState("kafka", process.pid, "", "part", "tcp://127.0.0.1:9", "", ready=True)) == "down"


async def test_a_running_part_that_does_not_answer_is_starting_or_unhealthy() -> None:
    for ready, health in ((False, "starting"), (True, "unhealthy")):
        assert await control.probe(PartState("x", os.getpid(), "", "service", "http://127.0.0.1:9/readyz", "", ready=ready)) == health


def test_backoff_doubles_to_ten_seconds_and_starts_anew_after_a_good_run() -> None:
    backoff = Backoff()
    assert [backoff.after(1.0) for _ in range(8)] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    assert backoff.after(31.0) == 0.2


def test_a_long_log_is_moved_aside_and_a_short_one_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "kafka.log"
    log.write_bytes(b"x" * 100)
    move_aside_if_long(log)
    assert log.exists()
    with log.open("ab") as file:
        file.truncate(17 * 1024 * 1024)
    move_aside_if_long(log)
    assert not log.exists()
    assert (tmp_path / "kafka.log.1").exists()


def test_the_tail_of_a_log_is_bounded(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("\n".join(f"line {number} {'x' * 1000}" for number in range(100)))
    assert len(tail(log)) < 8 * 401
    assert tail(tmp_path / "none") == ""
