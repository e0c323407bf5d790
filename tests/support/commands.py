"""`python -m tests.support.commands`: `headrace` commands, one after the other in one process, each as a line of JSON on standard input.

In the test's own process what a client library leaves open when a loop ends would count against the test; a process for each costs a
second of CPU.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import sys
import traceback
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace.cli.main import main

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Commands:
    process: asyncio.subprocess.Process

    async def run(self, words: tuple[str, ...], changed: Mapping[str, str]) -> tuple[int, str, str]:
        """Exit code (-1 for an error that nobody caught), standard output and error. `changed`: variables, from here on."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"words": words, "changed": dict(changed)}).encode() + b"\n")
        async with asyncio.timeout(120):
            code, out, err = json.loads(await self.process.stdout.readline())
        return code, out, err


@contextlib.asynccontextmanager
async def commands(environment: Mapping[str, str]) -> AsyncIterator[Commands]:
    """In this environment, of which the test's own has nothing that Headrace reads."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.commands"),
        env={**os.environ, **environment},
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=64 * 1024 * 1024,
    )
    try:
        yield Commands(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def _run(asked: dict[str, Any]) -> tuple[int, str, str]:
    os.environ.update(asked["changed"])
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = int(main(asked["words"]))
        except Exception:  # noqa: BLE001 - its trace is what is looked through
            traceback.print_exc()
            code = -1
    return code, out.getvalue(), err.getvalue()


if __name__ == "__main__":
    answers = sys.stdout
    for line in sys.stdin:
        answers.write(json.dumps(_run(json.loads(line))) + "\n")
        answers.flush()
    os._exit(0)
