"""Processes that compute, replaced when they die.

A step that is cancelled has its process killed: a thread or a pool's worker would go on. A process that dies (a crash in native
code, the kernel's out-of-memory killer) fails its step alone, to be tried again. When this process dies, even by SIGKILL, its
children read the end of their standard input and end.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any, Self

import structlog
from temporalio.exceptions import ApplicationError

from schemas.errors import FailureType, bounded

log = structlog.get_logger(__name__)

_POLL_SECONDS = 0.2
_MAX_ANSWER = 64 * 1024 * 1024
_PAGE = os.sysconf("SC_PAGE_SIZE")
# No credentials: the children read strangers' files. HOME is where matplotlib keeps its list of fonts.
_INHERITED = ("HOME", "LANG", "LC_ALL", "PATH", "TMPDIR", "XDG_CACHE_HOME")
_ENVIRONMENT = {
    # One thread each: the number of processes says how many cores are used, and sums come out the same in every run.
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"),
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MPLBACKEND": "Agg",
    "PYTHONHASHSEED": "0",
}


class Processes:
    """Up to `size` steps at one time, each in a process that nothing else uses meanwhile; an idle one takes the next step."""

    def __init__(self, size: int, memory_bytes: int) -> None:
        self._memory = memory_bytes
        self._slots = asyncio.Semaphore(size)
        self._idle: list[_Child] = []
        self._busy: set[_Child] = set()
        self._ending: set[asyncio.Task[int]] = set()

    @property
    def pids(self) -> list[int]:
        """Of the processes that compute now."""
        return [child.pid for child in self._busy]

    async def run(self, step: str, folder: Path, given: dict[str, Any]) -> dict[str, Any]:
        """What the step answers. Raises `ApplicationError`: non-retryable for what the data set is to blame for."""
        async with self._slots:
            child = self._idle.pop() if self._idle else await _Child.start()
            self._busy.add(child)
            try:
                answer = await child.ask({"step": step, "folder": str(folder), "given": given}, self._memory)
            except BaseException:
                self._end(child)
                raise
            finally:
                self._busy.discard(child)
            # What a large data set has taken is not all given back.
            if child.resident() > self._memory // 2:
                self._end(child)
            else:
                self._idle.append(child)
        return _result(step, answer)

    async def close(self) -> None:
        """Ends every process."""
        for child in (*self._idle, *self._busy):
            self._end(child)
        self._idle.clear()
        await asyncio.gather(*self._ending)

    def _end(self, child: _Child) -> None:
        """Killed now; that it is gone is waited for beside, since the step may be cancelled."""
        child.kill()
        ending = asyncio.ensure_future(child.ended())
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)


class _Child:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._gone: asyncio.Task[int] | None = None

    @classmethod
    async def start(cls) -> Self:
        inherited = {name: value for name in _INHERITED if (value := os.environ.get(name))}
        path = os.pathsep.join(entry for entry in sys.path if entry)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-P", "-W", "ignore", "-m", "workers.analysis.child"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**inherited, **_ENVIRONMENT, "PYTHONPATH": path},
            limit=_MAX_ANSWER,
        )
        return cls(process)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ask(self, task: dict[str, Any], memory_bytes: int) -> dict[str, Any]:
        """Raises `ApplicationError` when the process dies, or has to for its size."""
        writer, reader = self._process.stdin, self._process.stdout
        assert writer is not None and reader is not None  # noqa: S101, PT018 - as it was started
        writer.write(json.dumps(task).encode() + b"\n")
        reading = asyncio.ensure_future(reader.readline())
        try:
            while not (await asyncio.wait([reading], timeout=_POLL_SECONDS))[0]:
                if self.resident() > memory_bytes:
                    raise ApplicationError(
                        f"the data set needs more than {memory_bytes // 2**20} MiB of memory: send fewer rows or columns, or raise "
                        "HEADRACE_ANALYSIS_MEMORY_BYTES",
                        type=FailureType.DATASET_TOO_LARGE,
                        non_retryable=True,
                    )
            line = reading.result()
        finally:
            reading.cancel()
        if not line.endswith(b"\n"):
            # It has closed its output, so it has ended: a signal now would only get in the way of its exit code.
            raise ApplicationError(
                f"the process that computed {task['step']} ended with {await self.ended()} before it was done",
                type=FailureType.ANALYSIS_INTERRUPTED,
            )
        answer: dict[str, Any] = json.loads(line)
        return answer

    def resident(self) -> int:
        """Bytes in memory; 0 where the system has no /proc to tell."""
        try:
            return int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE
        except (OSError, IndexError):
            return 0

    def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()

    async def ended(self) -> int:
        """Its exit code, when it has one and its pipes are closed."""
        if self._gone is None:
            self._gone = asyncio.ensure_future(self._wait())
        return await asyncio.shield(self._gone)

    async def _wait(self) -> int:
        code = await self._process.wait()
        if (writer := self._process.stdin) is not None and (reader := self._process.stdout) is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            await reader.read()
        return code


def _result(step: str, answer: dict[str, Any]) -> dict[str, Any]:
    if (refused := answer.get("refused")) is not None:
        raise ApplicationError(bounded(refused["message"]), type=refused["code"], non_retryable=True)
    if (fault := answer.get("fault")) is not None:
        log.error("analysis_step_failed", step=step, **fault)
        raise ApplicationError(f"{step} failed at {fault['at']}", type=fault["kind"])
    result: dict[str, Any] = answer["result"]
    return result
