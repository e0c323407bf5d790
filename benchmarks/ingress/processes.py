"""The processes that are measured, and how: from outside, by their logs and what the operating system says of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import psutil  # type: ignore[import-untyped]

from benchmarks.ingress.place import Place
from benchmarks.ingress.window import Window
from headrace.stack.ports import LOOPBACK, Ports

ROOT = Path(__file__).parents[2]
_DISPOSED = b'"record_disposed"'


async def ask(module: str, *arguments: object, place: Place) -> Any:
    """What `python -m benchmarks.ingress.<module> <arguments>` prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"benchmarks.ingress.{module}",
        *map(str, arguments),
        env={**os.environ, **place.environment},
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode != 0:
        raise RuntimeError(f"benchmarks.ingress.{module} {' '.join(map(str, arguments))} ended with {process.returncode}")
    return json.loads(output.splitlines()[-1])


async def ask_window(module: str, *arguments: object, place: Place, warm: float, seconds: float) -> Window:
    return Window(**await ask(module, *arguments, "--warm", warm, "--seconds", seconds, place=place))


class Ingress:
    """`python -m ingress`, its log in a file. `async with`; ended as its supervisor would end it."""

    _runs = 0

    def __init__(self, place: Place, **changed: str) -> None:
        self._place = place
        self._changed = changed
        Ingress._runs += 1
        self.log = place.folder / f"{place.settings.ingress_group}-{Ingress._runs}.log"
        self._read = 0
        self._rest = b""
        self.records: list[dict[str, Any]] = []
        """The log so far: the lines of records, which are many, apart from the others."""
        self.others: list[dict[str, Any]] = []

    async def __aenter__(self) -> Self:
        with self.log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "ingress"),
                env={**os.environ, **self._place.environment, **self._changed},
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )
        self._seen = psutil.Process(self._process.pid)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), 60)
        except TimeoutError:
            self._process.kill()
        self.read()

    def cpu(self) -> float:
        """Seconds of user and system time, every thread."""
        times = self._seen.cpu_times()
        return float(times.user + times.system)

    def resident_mib(self) -> float:
        return float(self._seen.memory_info().rss) / 1024 / 1024

    def read(self) -> None:
        """Takes in what was logged since the last time."""
        with self.log.open("rb") as log:
            log.seek(self._read)
            new = log.read()
        self._read += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        for line in lines:
            if line.startswith(b"{"):
                (self.records if _DISPOSED in line else self.others).append(json.loads(line))

    async def until(self, condition: Callable[[], bool], what: str, *, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if self._process.returncode is not None:
                raise RuntimeError(f"the ingress ended with {self._process.returncode}: {self._tail()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"the ingress did not get to {what} within {seconds:g} s: {self._tail()}")
            await asyncio.sleep(0.1)
            self.read()

    async def until_disposed(self, count: int, *, seconds: float) -> None:
        await self.until(lambda: len(self.records) >= count, f"{count} records", seconds=seconds)

    def disposed(self, disposition: str) -> list[dict[str, Any]]:
        return [line for line in self.records if line["disposition"] == disposition]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.others if line.get("event") == name]

    def _tail(self) -> str:
        return " | ".join(self.log.read_text(errors="replace").splitlines()[-5:])


def moment(line: dict[str, Any]) -> float:
    """When it was logged, as `time.time()` would say."""
    return datetime.fromisoformat(line["timestamp"]).timestamp()


async def watch(ingress: Ingress, *, warm: float, seconds: float) -> Window:
    """A window of an ingress that has enough to do, beginning `warm` seconds after its first record."""
    await ingress.until_disposed(1, seconds=60)
    await asyncio.sleep(warm)
    began, cpu = time.time(), ingress.cpu()
    await asyncio.sleep(seconds)
    ended, cpu = time.time(), ingress.cpu() - cpu
    # A later line proves that there was enough to do.
    await ingress.until(lambda: moment(ingress.records[-1]) > ended, "a record behind the window (preload more)", seconds=10)
    moments = map(moment, ingress.disposed("started"))
    return Window(sum(began <= each < ended for each in moments), ended - began, cpu)


async def window_of_ingress(place: Place, *, warm: float, seconds: float) -> Window:
    async with Ingress(place) as ingress:
        return await watch(ingress, warm=warm, seconds=seconds)


class Stub:
    """`benchmarks.ingress.temporal_stub` on a port of its own; `away()` and `back()` end and start it there."""

    def __init__(self, *, seconds: float = 0.005, keep: bool = False) -> None:
        self._arguments = (str(seconds), *(("keep",) if keep else ()))
        self._ports = Ports()
        self._port = self._ports.choose("stub").port
        self.address = f"{LOOPBACK}:{self._port}"
        self._counted = 0

    async def back(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "benchmarks.ingress.temporal_stub", str(self._port), *self._arguments),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=2**30,
        )
        await self._line()

    async def away(self) -> None:
        self._counted = await self.count()
        await self._end()

    async def close(self) -> None:
        await self._end()
        self._ports.close()

    async def _end(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def count(self) -> int:
        """Starts that it was asked for, before it went away too."""
        return self._counted + int(await self._question("count"))

    async def arrivals(self) -> list[Any]:
        found = await self._question("arrivals")
        assert isinstance(found, list)
        return found

    async def _question(self, question: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{question}\n".encode())
        return json.loads(await self._line())

    async def _line(self) -> bytes:
        assert self._process.stdout is not None
        return await self._process.stdout.readline()


@contextlib.asynccontextmanager
async def stub(*, seconds: float = 0.005, keep: bool = False) -> AsyncIterator[Stub]:
    made = Stub(seconds=seconds, keep=keep)
    await made.back()
    try:
        yield made
    finally:
        await made.close()
