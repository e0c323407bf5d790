"""`make chaos`: runs seeds, prints a row for each as it ends, goes on after a violation, and ends with 1 when there was one."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from tests.faults.run import Outcome, run_seed
from tests.faults.world import world

_SEEDS_OF_A_STACK = 40
"""Open workflows and topics add up: after so many seeds a fresh stack."""
_MOST = 10
"""Violations of one seed that are printed."""
_COLUMNS = (
    ("seed", 6),
    ("records", 7),
    ("started", 7),
    ("dupl", 5),
    ("signal", 6),
    ("dead", 5),
    ("dead again", 10),
    ("extra starts", 12),
    ("redelivered", 11),
    ("seconds", 7),
    ("verdict", 7),
)


def main() -> int:
    arguments = _arguments()
    failed: list[int] = []
    _say("".join(f"{name:>{width}} " for name, width in _COLUMNS) + "load | faults")
    began = time.monotonic()
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    logging.basicConfig(level=logging.CRITICAL)
    for number in (signal.SIGINT, signal.SIGTERM):
        # Whatever started it: no ingress and no part may be left behind.
        signal.signal(number, signal.default_int_handler)
    for some in _chunks(seeds):
        failed += asyncio.run(_run(some, arguments.logs))
    _say(f"\n{len(seeds)} seeds in {time.monotonic() - began:.0f} s: {len(failed)} with violations")
    for seed in failed:
        _say(f"  run seed {seed} again: make chaos SEEDS=1 FIRST={seed}    its logs: {arguments.logs}/{seed}")
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=12, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first")
    parser.add_argument("--logs", type=Path, default=Path("chaos-logs"), help="where the logs of failing seeds are kept")
    return parser.parse_args()


def _chunks(seeds: range) -> Iterator[range]:
    for begin in range(0, len(seeds), _SEEDS_OF_A_STACK):
        yield seeds[begin : begin + _SEEDS_OF_A_STACK]


async def _run(seeds: range, logs: Path) -> list[int]:
    """Those with violations."""
    failed = []
    with tempfile.TemporaryDirectory(prefix="headrace-chaos-") as temporary:
        async with world(Path(temporary) / "stack") as shared:
            for seed in seeds:
                folder = Path(temporary) / str(seed)
                try:
                    outcome = await run_seed(shared, seed, folder)
                except Exception:  # noqa: BLE001 - the suite's own fault: told, and the next seed is run
                    failed.append(seed)
                    _say(f"{seed:>6} could not be run:\n{traceback.format_exc()}")
                else:
                    _tell(outcome)
                    if not outcome.violations:
                        shutil.rmtree(folder)
                        continue
                    failed.append(seed)
                    (folder / "violations").write_text("".join(f"{violation}\n" for violation in outcome.violations))
                shutil.copytree(folder, logs / str(seed), dirs_exist_ok=True)
                shutil.copytree(shared.folder / "logs", logs / str(seed) / "stack", dirs_exist_ok=True)
    return failed


def _tell(outcome: Outcome) -> None:
    counts = outcome.figures
    cells = [
        *(outcome.plan.seed, counts.records, counts.started, counts.duplicates, counts.signalled, counts.dead_lettered),
        *(counts.repeated_letters, counts.extra_starts, counts.redelivered, f"{outcome.seconds:.1f}"),
        "ok" if not outcome.violations else "BROKEN",
    ]
    row = "".join(f"{cell:>{width}} " for cell, (_, width) in zip(cells, _COLUMNS, strict=True))
    _say(f"{row}{outcome.plan.load.words()} | {outcome.plan.words()}")
    for violation in outcome.violations[:_MOST]:
        _say(f"         {violation}")
    if len(outcome.violations) > _MOST:
        _say(f"         and {len(outcome.violations) - _MOST} more")


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a command prints


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # The clients' native threads can abort a process that exits just after its last call.
    os._exit(code)
