"""One part under supervision: started, asked until it answers, started again when it dies, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from headrace.stack.errors import StackError
from headrace.stack.group import Group, Process
from headrace.stack.part import Part, answers
from headrace.stack.state import PartState, tail

READY_SECONDS = 60.0
ASK_EVERY = 0.03
BACKOFF_FIRST = 0.2
BACKOFF_MOST = 10.0
BACKOFF_RESET = 30.0
LOG_BYTES = 16 * 1024 * 1024


class Backoff:
    """How long to wait before a part is started again: twice as long each time, as at first after it was up for a while."""

    def __init__(self) -> None:
        self._next = BACKOFF_FIRST

    def after(self, up_seconds: float) -> float:
        if up_seconds >= BACKOFF_RESET:
            self._next = BACKOFF_FIRST
        seconds, self._next = self._next, min(self._next * 2, BACKOFF_MOST)
        return seconds


class Supervised:
    """Runs one part within the group."""

    def __init__(
        self,
        part: Part,
        group: Group,
        log: Path,
        client: httpx.AsyncClient,
        say: Callable[[str], None],
        changed: Callable[[], None],
    ) -> None:
        self.part = part
        self.ready = False
        self._group = group
        self._log = log
        self._client = client
        self._say = say
        self._changed = changed
        self._process: Process | None = None
        self._started = 0.0
        self._keeper: asyncio.Task[None] | None = None

    def states(self) -> list[PartState]:
        """Its lines of the state file."""
        part, running = self.part, self._process is not None and self._process.returncode is None
        pid = self._process.pid if self._process is not None and running else None
        faces = {part.name: (part.address, part.health), **part.faces}
        return [
            PartState(name, pid, address, part.kind, health, str(self._log), running and self.ready)
            for name, (address, health) in faces.items()
        ]

    async def start(self) -> None:
        """Start it and return when it answers; raises `StackError` when it ends or stays silent instead."""
        await self._spawn()
        await self._until_ready()

    def keep(self) -> None:
        """From now on start it again whenever it dies."""
        self._keeper = asyncio.create_task(self._keep(), name=f"keep {self.part.name}")

    async def stop(self) -> None:
        """Ask it to end, and make it end when it takes too long."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        process = self._process
        if process is None:
            return
        self._signal(self.part.stop_signal)
        try:
            await asyncio.wait_for(process.wait(), self.part.stop_seconds)
        except TimeoutError:
            self._say(f"{self.part.name} did not end within {self.part.stop_seconds:.0f} s and was killed")
            self._signal(signal.SIGKILL)
            await process.wait()
        self.ready = False

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _spawn(self) -> None:
        part = self.part
        self.ready = False
        if part.emptied is not None:
            shutil.rmtree(part.emptied, ignore_errors=True)
        try:
            self._process = await self._group.spawn(part.command, part.environment, part.folder, self._log)
        except OSError as error:
            raise StackError(f"{part.name} cannot be run ({error.strerror}: {part.command[0]}): install Headrace anew") from error
        self._started = time.monotonic()
        self._changed()

    async def _until_ready(self) -> None:
        process, end = self._process, time.monotonic() + READY_SECONDS
        if process is None:
            return
        for url in self.part.ready:
            while not await answers(url, self._client):
                if process.returncode is not None:
                    raise StackError(self._failure(f"{_ending(process)} before it answered"))
                if time.monotonic() > end:
                    raise StackError(self._failure(f"did not answer at {url} within {READY_SECONDS:.0f} s"))
                await asyncio.sleep(ASK_EVERY)
        if process.returncode is not None:
            raise StackError(self._failure(f"{_ending(process)}, and another server answers at {self.part.address}"))
        self.ready = True
        self._changed()

    def _failure(self, what: str) -> str:
        return f"{self.part.name} {what}: see what its log {self._log} says, which ends with\n{tail(self._log)}"

    async def _keep(self) -> None:
        backoff = Backoff()
        while True:
            process = self._process
            if process is None:
                return
            await process.wait()
            self.ready = False
            self._changed()
            died, seconds = time.monotonic(), backoff.after(time.monotonic() - self._started)
            self._say(f"{self.part.name} {_ending(process)} (pid {process.pid}): starting it again in {seconds:.1f} s")
            await asyncio.sleep(seconds)
            await self._start_again(died)

    async def _start_again(self, died: float) -> None:
        try:
            await self.start()
        except StackError as error:
            self._say(str(error).splitlines()[0])
            self._signal(signal.SIGKILL)
        else:
            pid = self._process.pid if self._process is not None else None
            self._say(f"{self.part.name} is back after {time.monotonic() - died:.1f} s (pid {pid})")


def _ending(process: Process) -> str:
    code = process.returncode or 0
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def move_aside_if_long(log: Path) -> None:
    """A log that has grown long becomes `<log>.1` before it is appended to again."""
    with contextlib.suppress(OSError):
        if log.stat().st_size > LOG_BYTES:
            log.replace(log.with_name(f"{log.name}.1"))
