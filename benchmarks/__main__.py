"""`make bench`: every measurement, or those that are named: `python -m benchmarks [latency] [ingress]`.

Each has a stack of its own in a temporary folder, prints a table, and writes JSON into `benchmarks/results/`. `python -m
benchmarks.ingress` measures parts of the second, and one that takes longer.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.ingress.__main__ import main as ingress
from benchmarks.latency import latency, memory
from headrace.lifecycle import leave
from headrace.settings import STATE_DIR_VARIABLE, load
from headrace.stack.supervisor import Stack

RESULTS = Path(__file__).parent / "results"


async def end_to_end() -> None:
    """From produce to completion through every service, and what the idle stack weighs."""
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        os.environ[STATE_DIR_VARIABLE] = folder
        async with Stack(Path(folder)):
            settings = load()
            await latency(settings, rate=5, seconds=10)  # warms every process up
            await asyncio.sleep(10)
            weights = memory(Path(folder))
            found = await latency(settings, rate=5, seconds=60)
    del os.environ[STATE_DIR_VARIABLE]
    result = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "load_average": os.getloadavg(),
        "memory_mib": weights,
        "local_backend": found,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "latency.json").write_text(json.dumps(result, indent=2) + "\n")
    table = Table("figure", "value", box=None)
    for part, weight in weights.items():
        table.add_row(f"{part}, idle", f"{weight:.0f} MiB")
    table.add_row("the whole stack, idle", f"{sum(weights.values()):.0f} MiB")
    for name in ("p50_ms", "p99_ms", "max_ms"):
        table.add_row(f"produce to completion, {found['rate_per_second']:g}/s, {name.removesuffix('_ms')}", f"{found[name]:.0f} ms")
    Console().print(table)


def main(names: list[str]) -> None:
    measurements = {"latency": lambda: asyncio.run(end_to_end()), "ingress": lambda: ingress([])}
    for name in names or measurements:
        if name not in measurements:
            sys.exit(f"there is no measurement {name}: choose from {', '.join(measurements)}")
        measurements[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
    leave(0)
