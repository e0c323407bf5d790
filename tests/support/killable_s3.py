"""An S3 of a test's own, which may be killed."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from pathlib import Path

from headrace.stack import s3
from headrace.stack.part import Part, answers, local_client
from headrace.stack.ports import Ports
from headrace.stack.state import StateFolder
from tests.support.eventually import eventually


class KillableS3:
    """SeaweedFS as the embedded stack runs it."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._process: Process | None = None
        self.address = part.address

    async def start(self) -> None:
        """Returns when it takes objects."""
        if self._part.emptied is not None:
            shutil.rmtree(self._part.emptied, ignore_errors=True)
        self._process = await asyncio.create_subprocess_exec(
            *self._part.command, env=self._part.environment, cwd=self._part.folder, stdout=DEVNULL, stderr=DEVNULL
        )
        async with local_client() as http:

            async def ready() -> bool:
                return all([await answers(url, http) for url in self._part.ready])

            await eventually(ready, timeout=60)

    async def kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()


@contextlib.asynccontextmanager
async def killable(folder: Path) -> AsyncIterator[KillableS3]:
    """Not started yet."""
    state, ports = StateFolder(folder / "s3"), Ports()
    state.temporary.mkdir(parents=True)
    # Not the well-known port, which belongs to the stack of whoever comes first.
    made = KillableS3(s3.prepare(state, {name: ports.choose(f"killable-{name}").port for name in s3.PORTS}))
    try:
        yield made
    finally:
        await made.kill()
        ports.close()
