"""`python -m tests.faults.completions [--runs 2000] [--seed 0]`: the fault test of completions in its full size, with a table."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from uuid import uuid4

from headrace import logs
from headrace.lifecycle import leave
from headrace.settings import Settings
from headrace.stack.supervisor import Stack
from tests.faults import ended


async def _main(runs: int, seed: int) -> int:
    with tempfile.TemporaryDirectory(prefix="headrace-ended-") as name:
        folder = Path(name)
        async with Stack(folder / "stack", services=False, say=lambda _: None) as stack:
            given = {key.lower().removeprefix("headrace_"): value for key, value in stack.addresses.environment().items()}
            own = {"topic_prefix": f"e{uuid4().hex[:8]}.", "database_url": f"sqlite+aiosqlite:///{folder}/headrace.db"}
            tally = await ended.run(Settings.model_validate({**given, **own}), runs, folder, seed=seed)
    print("\n".join(tally.lines()))  # noqa: T201 - a command
    return 1 if tally.missing or tally.duplicates or tally.contradictions or tally.wrong else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.faults.completions")
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    logs.configure("ERROR")
    sys.stdout.flush()
    leave(asyncio.run(_main(asked.runs, asked.seed)))
