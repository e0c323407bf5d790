"""What the command line does with a stack: run it, start it in the background, end it, look at it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from headrace.settings import STATE_DIR_VARIABLE
from headrace.stack.errors import StackError
from headrace.stack.folder import LEFTOVER_SECONDS, kill_leftovers
from headrace.stack.lock import is_locked, read_pid
from headrace.stack.part import answers, local_client
from headrace.stack.state import PartState, StateFolder
from headrace.stack.supervised import move_aside_if_long
from headrace.stack.supervisor import Stack

Health = Literal["healthy", "starting", "unhealthy", "down"]
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ASK_EVERY = 0.05
ERROR_PREFIX = "headrace: "
"""How the command begins what went wrong."""
DETACH_SECONDS = 900.0
"""The first start fetches Kafka, on whatever line there is."""


async def up(state_dir: Path, say: Callable[[str], None] = print, *, services: bool = True) -> None:
    """Run the stack until SIGINT, SIGTERM or SIGHUP; a second signal kills instead of asking."""
    stack, loop, asked = Stack(state_dir, services=services, say=say), asyncio.get_running_loop(), asyncio.Event()

    def on_signal() -> None:
        if asked.is_set():
            stack.kill()
        asked.set()

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, on_signal)
    starting, asking = asyncio.create_task(stack.start()), asyncio.create_task(asked.wait())
    try:
        await asyncio.wait([starting, asking], return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            await asking
        say("stopping")
    finally:
        starting.cancel()  # which stops what it has started
        asking.cancel()
        await asyncio.gather(starting, asking, return_exceptions=True)
        await stack.stop()
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)


def down(state_dir: Path, timeout: float = 60.0, say: Callable[[str], None] = print) -> bool:
    """End the stack of this folder and wait for it; False when none ran."""
    state = StateFolder(state_dir)
    pid = read_pid(state.supervisor_lock)
    if not is_locked(state.supervisor_lock):
        return _clean_up(state, say)
    if pid is None:
        raise StackError(f"{state.supervisor_lock} is locked and names no pid: find its holder with `fuser` and end it")
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return _clean_up(state, say)
    except PermissionError as error:
        raise StackError(f"the stack in {state.path} runs as pid {pid} of another user: end it as that user") from error
    if not _until_free(state.supervisor_lock, timeout):
        raise StackError(f"the stack in {state.path} (pid {pid}) did not end within {timeout:.0f} s: see {state.logs}, or `kill -9 {pid}`")
    return True


def _clean_up(state: StateFolder, say: Callable[[str], None]) -> bool:
    """After a supervisor that was killed: end what its warden left, remove what is no longer true; False when there was nothing."""
    if state.read_snapshot() is None and not is_locked(state.parts_lock):
        return False
    if not _until_free(state.parts_lock, LEFTOVER_SECONDS):
        kill_leftovers(state)
        _until_free(state.parts_lock, LEFTOVER_SECONDS)
    state.forget_running()
    say(f"the stack in {state.path} had been killed: cleaned up what it left")
    return False


def _until_free(file: Path, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while is_locked(file):
        if time.monotonic() > end:
            return False
        time.sleep(ASK_EVERY)
    return True


def running(state_dir: Path) -> bool:
    """Whether a supervisor holds this folder."""
    return is_locked(StateFolder(state_dir).supervisor_lock)


def read_state(state_dir: Path) -> list[PartState]:
    """Every part and service of the stack in this folder, `temporal-ui` too; empty when none runs."""
    snapshot = StateFolder(state_dir).read_snapshot()
    return [] if snapshot is None else list(snapshot.parts)


async def probe(part: PartState) -> Health:
    """How a part is: down (no process), starting (has not answered since it was started), healthy, unhealthy (answers no more)."""
    if part.pid is None or not _is_alive(part.pid):
        return "down"
    async with local_client() as client:
        if await answers(part.health, client):
            return "healthy"
    return "unhealthy" if part.ready else "starting"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return True
    return not stat.rpartition(") ")[2].startswith("Z")  # dead, and not yet waited for by whoever inherited it


def detach(state_dir: Path, say: Callable[[str], None] = print) -> None:
    """Start the supervisor in the background and follow it until everything is ready; raises `StackError` with its words otherwise."""
    state = StateFolder(state_dir)
    try:
        state.make()
        move_aside_if_long(state.supervisor_log)
        output = state.supervisor_log.open("ab")
    except OSError as error:
        raise StackError(
            f"cannot write the state folder {state.path} ({error.strerror}): make it writable or set {STATE_DIR_VARIABLE} to another"
        ) from error
    with output:
        begin = output.tell()
        supervisor = subprocess.Popen(
            [sys.executable, "-P", "-m", "headrace.cli.main", "up"],
            env={**os.environ, STATE_DIR_VARIABLE: str(state.path)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _follow(state, supervisor, begin, say)


def _follow(state: StateFolder, supervisor: subprocess.Popen[bytes], begin: int, say: Callable[[str], None]) -> None:
    end, seen, failure = time.monotonic() + DETACH_SECONDS, begin, ""
    with state.supervisor_log.open("rb") as log:
        while True:
            code, snapshot = supervisor.poll(), state.read_snapshot()
            ready = snapshot is not None and snapshot.supervisor == supervisor.pid and snapshot.ready
            log.seek(seen)
            complete = [line for line in log.read().splitlines(keepends=True) if line.endswith(b"\n")]
            seen += sum(map(len, complete))
            for line in (line.decode("utf-8", "replace").rstrip() for line in complete):
                if failure or line.startswith(ERROR_PREFIX):
                    failure += "\n" + line
                else:
                    say(line)
            if code is not None:
                failure = failure.strip().removeprefix(ERROR_PREFIX)
                raise StackError(failure or f"the supervisor ended with exit code {code}: see {state.supervisor_log}")
            if ready:
                return
            if time.monotonic() > end:
                raise StackError(
                    f"the stack is not ready after {DETACH_SECONDS:.0f} s: see {state.supervisor_log}, end it with `headrace down`"
                )
            time.sleep(ASK_EVERY)
