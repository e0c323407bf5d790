"""The process group that holds every part, so that none outlives the supervisor.

The warden leads the group (see `headrace.stack.warden`) and kills it when the supervisor is gone. A child enters the group before
it runs its program, so there is no moment in which it could be missed; and a group of its own keeps Ctrl-C on the terminal from it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import headrace

Process = asyncio.subprocess.Process
DISTRIBUTION_FOLDER = Path(headrace.__file__).parent.parent


class Group:
    """Starts processes in one process group with a warden."""

    def __init__(self, kept_open: int, changed: Callable[[], None]) -> None:
        """`kept_open` is the descriptor of a lock that every child holds while it lives."""
        self.id = 0
        self._kept_open = kept_open
        self._changed = changed
        self._warden: Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()

    async def open(self) -> None:
        await self._ensure_warden()
        self._keeper = asyncio.create_task(self._keep_warden())

    async def spawn(self, command: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path) -> Process:
        """Start a process of the group, its output going to `log`."""
        await self._ensure_warden()
        with log.open("ab") as output:
            return await asyncio.create_subprocess_exec(
                *command,
                env=dict(environment),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=self.id,
                pass_fds=(self._kept_open,),
            )

    async def close(self) -> None:
        """End what is left of the group, the warden with it."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        self.kill()
        if self._warden is not None:
            _close_input(self._warden)
            await self._warden.wait()

    def kill(self) -> None:
        if self.id:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.id, signal.SIGKILL)

    async def _ensure_warden(self) -> None:
        async with self._starting:
            if self._warden is not None and self._warden.returncode is None:
                return
            if self._warden is not None:
                _close_input(self._warden)
            try:
                self._warden = await self._start_warden(self.id)
            except PermissionError:
                self.id = 0  # nobody is left in the old group: a new one
                self._warden = await self._start_warden(self.id)
            self.id = self.id or self._warden.pid
            self._changed()

    async def _start_warden(self, group: int) -> Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-E", "-m", "headrace.stack.warden"),
            cwd=DISTRIBUTION_FOLDER,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=group,
            pass_fds=(self._kept_open,),
        )

    async def _keep_warden(self) -> None:
        while self._warden is not None:
            await self._warden.wait()
            await self._ensure_warden()


def _close_input(process: Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
