"""The ingress processes of one run: started, killed, held still, asked to leave; and what they said."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from headrace.stack.part import local_client
from tests.faults.history import Place, Process
from tests.support.eventually import eventually
from tests.support.ingress import IMAGE_ROUTES

ROOT = Path(__file__).parents[2]

_LEAVE_SECONDS = 20.0
_LEFT_OVER = re.compile(r"^headrace_ingress_in_flight(?:_bytes)? (\S+)$", re.MULTILINE)
_COUNTED = re.compile(r"^headrace_ingress_records_total\{(?P<labels>[^}]*)\} (?P<value>\S+)$", re.MULTILINE)


@dataclass
class Member:
    """One process of the group."""

    name: str
    process: asyncio.subprocess.Process
    log: Path
    ending: str = ""
    meant: bool = False
    """Whether its end is the suite's doing."""
    killed: bool = False
    counted: dict[str, int] | None = None
    left_over: int = 0

    @property
    def alive(self) -> bool:
        return self.process.returncode is None

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def lines(self) -> list[dict[str, Any]]:
        """What it logged; a line that is not whole, or not of its own chain, is left out."""
        found = []
        for line in self.log.read_text("utf-8", "replace").splitlines():
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
        return [line for line in found if isinstance(line, dict)]

    def has_said(self, event: str) -> bool:
        return f'"event":"{event}"'.encode() in self.log.read_bytes()

    def told(self) -> list[tuple[Place, str]]:
        disposed = [line for line in self.lines() if line.get("event") == "record_disposed"]
        return [(Place(line["topic"], line["partition"], line["offset"]), line["disposition"]) for line in disposed]

    def story(self) -> Process:
        return Process(self.name, self.ending, self.told(), self.counted, self.left_over)


@dataclass
class Members:
    """All of them, also those that have ended."""

    folder: Path
    environment: dict[str, str]
    all: list[Member] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def alive(self) -> list[Member]:
        return [member for member in self.all if member.alive]

    async def start(self) -> Member:
        name = f"ingress-{next(self._numbers)}"
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "ingress"),
                env=self.environment,
                cwd=ROOT,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        member = Member(name, process, log)
        self.all.append(member)
        return member

    async def kill(self, member: Member) -> None:
        member.meant = member.killed = True
        member.signal(signal.SIGKILL)
        await member.process.wait()

    async def leave(self, member: Member) -> None:
        """As a deployment would end it. It must end by itself, in time, and say that it did."""
        if not member.alive:
            return
        member.meant = True
        member.signal(signal.SIGTERM)
        try:
            code = await asyncio.wait_for(member.process.wait(), _LEAVE_SECONDS)
        except TimeoutError:
            member.ending = f"did not end within {_LEAVE_SECONDS:.0f} s of SIGTERM"
            await self.kill(member)
            return
        starting = code == -signal.SIGTERM and not member.lines()  # asked before Python had come to handle it
        if code != 0 and not member.killed and not starting:
            member.ending = f"ended with exit code {code} when it was asked to leave"

    async def leave_all(self) -> None:
        await asyncio.gather(*(self.leave(member) for member in self.alive()))

    async def replace_the_dead(self) -> None:
        """As a supervisor would; a process that ended by itself is remembered."""
        for member in list(self.all):
            if not member.alive and not member.meant and not member.ending:
                member.ending = f"ended by itself with exit code {member.process.returncode}"
                await self.start()

    @contextlib.asynccontextmanager
    async def held_still(self) -> AsyncIterator[None]:
        """No process takes a step while the block runs."""
        found = self.alive()
        for member in found:
            member.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for member in found:
                member.signal(signal.SIGCONT)

    async def one_is_ready(self) -> None:
        async def assigned() -> bool:
            await self.replace_the_dead()
            return any(member.alive and member.has_said("partitions_assigned") for member in self.all)

        await eventually(assigned, timeout=40)

    async def count(self) -> None:
        """Reads the counters of those that live: to be called when nothing is left to do."""
        async with local_client() as client:
            for member in self.alive():
                with contextlib.suppress(httpx.HTTPError):
                    await _read_counters(member, client)


async def _read_counters(member: Member, client: httpx.AsyncClient) -> None:
    ports = [line["port"] for line in member.lines() if line.get("event") == "health_served"]
    if not ports:
        return

    async def idle() -> bool:
        """What it has in flight is measured now and then."""
        text = (await client.get(f"http://127.0.0.1:{ports[0]}/metrics")).text
        member.left_over = sum(int(float(value)) for value in _LEFT_OVER.findall(text))
        found: Counter[str] = Counter()
        for match in _COUNTED.finditer(text):
            labels = dict(re.findall(r'(\w+)="([^"]*)"', match["labels"]))
            found[labels["disposition"]] += int(float(match["value"]))
        member.counted = {word: count for word, count in found.items() if count}
        return member.left_over == 0

    with contextlib.suppress(AssertionError):
        await eventually(idle, timeout=3)


def environment(given: dict[str, str], **own: str) -> dict[str, str]:
    """Of an ingress process: the machine's, and nothing of Headrace's or Temporal's but what is given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HEADRACE_", "TEMPORAL_"))}
    return {**kept, "HEADRACE_ROUTES_FILE": str(IMAGE_ROUTES), **given, **own}
