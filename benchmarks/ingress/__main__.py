"""`python -m benchmarks.ingress [throughput|replay|order|acknowledged|outage ...]`: a table, JSON and a plot in `benchmarks/results/`.

Without names everything but `outage`, which takes a quarter of an hour: about ten minutes. What is not measured this time stays in the
JSON as it was, each section with the time and the machine of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from rich.console import Console

from benchmarks.ingress import report
from benchmarks.ingress.acknowledged import acknowledged
from benchmarks.ingress.figure import Section
from benchmarks.ingress.order import order
from benchmarks.ingress.outage import outage
from benchmarks.ingress.plot import plot
from benchmarks.ingress.replay import replay
from benchmarks.ingress.throughput import throughput
from headrace.lifecycle import leave
from headrace.stack.supervisor import Stack

Measure = Callable[[dict[str, str], Path, Callable[[str], None]], Awaitable[Section]]
ALWAYS: dict[str, Measure] = {"throughput": throughput, "acknowledged": acknowledged, "order": order, "replay": replay}


async def run(names: list[str], measures: dict[str, Measure]) -> None:
    """Each in turn, on one embedded stack in a temporary folder; the results are written after each."""
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        async with Stack(Path(folder), services=False, say=console.log) as stack:
            for name in names:
                console.rule(name)
                section = await measures[name](stack.addresses.environment(), Path(folder), console.log)
                report.keep(name, section)
                Console().print(report.table(name, section))
    plot(report.kept())


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingress", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"{', '.join(ALWAYS)} or outage")
    parser.add_argument("--minutes", type=float, default=10, help="how long Temporal is away in `outage`")
    parser.add_argument("--records", type=int, default=1_000_000, help="backlog of `outage`")
    given = parser.parse_args(arguments)
    measures: dict[str, Measure] = {**ALWAYS, "outage": functools.partial(outage, minutes=given.minutes, records=given.records)}
    unknown = sorted(set(given.names) - set(measures))
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}: choose from {', '.join(measures)}")
    asyncio.run(run(given.names or list(ALWAYS), measures))


if __name__ == "__main__":
    main(sys.argv[1:])
    leave(0)
