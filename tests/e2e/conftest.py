"""The whole system, started once for this tier: every part and every service, supervised, and its traces collected."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from headrace.cli.main import main
from headrace.settings import STATE_DIR_VARIABLE, Settings, load
from headrace.stack.supervisor import Stack
from tests.support.otlp import Collector, collecting


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class System:
    """A running system and the `headrace` command in it."""

    folder: Path
    settings: Settings
    traces: Collector

    async def headrace(self, *arguments: str, stdin: str = "") -> Answer:
        return await run_headrace(self.folder, *arguments, stdin=stdin)


async def run_headrace(folder: Path, *arguments: str, stdin: str = "") -> Answer:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "headrace.cli.main", *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, STATE_DIR_VARIABLE: str(folder)},
    )
    async with asyncio.timeout(90):
        out, err = await process.communicate(stdin.encode())
    return Answer(process.returncode or 0, out.decode(), err.decode())


@pytest_asyncio.fixture(scope="package")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    folder = tmp_path_factory.mktemp("system")
    async with collecting() as collector, contextlib.AsyncExitStack() as opened:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address)
            patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
            await opened.enter_async_context(Stack(folder))
            patch.setenv(STATE_DIR_VARIABLE, str(folder))
            settings = load()
        yield System(folder, settings, collector)


Command = Callable[..., Awaitable[Answer]]


@pytest.fixture
def here(system: System, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command in this process, for what is asked many times: a process of its own costs a second of CPU."""
    monkeypatch.setenv(STATE_DIR_VARIABLE, str(system.folder))

    async def run(*arguments: str) -> Answer:
        capsys.readouterr()
        code = await asyncio.to_thread(main, list(arguments))
        said = capsys.readouterr()
        return Answer(int(code), said.out, said.err)

    return run


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]
