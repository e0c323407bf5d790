"""`python -m headrace.demo`: sends, watches, verifies, writes `demo-output/`.

It uses the stack that runs in the state folder, or starts one and leaves no process behind. With `--environment` it uses the system that
the settings name, for instance the containers of `docker-compose.yml`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

from rich.console import Console
from rich.live import Live

from headrace import temporal
from headrace.demo import output, plan
from headrace.demo.check import wrong
from headrace.demo.live import table
from headrace.demo.scenes import Stage, play
from headrace.demo.send import sender
from headrace.demo.tell import tell
from headrace.demo.watch import Watch
from headrace.figures import figures
from headrace.lifecycle import leave
from headrace.settings import Settings, SettingsError, load, state_dir
from headrace.stack import control
from headrace.stack.errors import StackError
from headrace.stack.supervisor import Stack
from headrace.wire import Wire
from schemas.catalog import Catalog, shipped

_PATIENCE_SECONDS = 120.0

console = Console()


async def main(*, environment: bool = False) -> int:
    """The demo's exit code: 0 when every record ended as it must. `environment`: on what the settings name, not on the embedded stack."""
    began = time.monotonic()
    async with _environment() if environment else _stack() as (settings, ui):
        wire = Wire.of(settings, Catalog(shipped()))
        cases = plan.cases(settings)
        watch = Watch(settings, wire, await temporal.connect(settings), cases)
        console.print(f"ready after [bold]{time.monotonic() - began:.1f} s[/]; sending {len(cases)} records\n")
        try:
            async with watch.following():
                seconds = await _send_and_watch(settings, wire, watch, cases)
            missing = wrong(cases, watch)
            if lag := (await figures(settings)).lag:
                missing.append(f"{lag} request records have no disposition yet")
            missing = await output.write(settings, cases, seconds, missing)
        finally:
            await wire.close()
        tell(console, ui, cases, missing, seconds, stays=environment)
    return 1 if missing else 0


@contextlib.asynccontextmanager
async def _stack() -> AsyncIterator[tuple[Settings, str]]:
    """The running stack, or one of the demo's own; settings, and the address of Temporal's UI."""
    folder = state_dir()
    if control.running(folder):
        console.print(f"using the stack that runs in {folder}; it stays up")
        yield load(), _ui(folder)
        return
    async with Stack(folder, say=lambda line: console.print(f"[dim]{line}[/]", highlight=False)):
        yield load(), _ui(folder)


@contextlib.asynccontextmanager
async def _environment() -> AsyncIterator[tuple[Settings, str]]:
    """What runs elsewhere; settings, and the address of Temporal's UI."""
    settings = load()
    console.print(f"using Kafka at {settings.kafka_bootstrap_servers} and Temporal at {settings.temporal_address}")
    yield settings, os.environ.get("TEMPORAL_UI_ADDRESS", "")


def _ui(folder: Path) -> str:
    return next((part.address for part in control.read_state(folder) if part.part == "temporal-ui" and part.address), "")


async def _send_and_watch(settings: Settings, wire: Wire, watch: Watch, cases: list[plan.Case]) -> float:
    """Seconds from the first record to the last answer."""
    began = time.monotonic()
    with Live(get_renderable=lambda: table(cases), console=console, refresh_per_second=8):
        async with sender(settings, wire) as sending:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    await play(Stage(settings, await temporal.connect(settings), sending, watch), cases)
        seconds = time.monotonic() - began
        await watch.count_runs()
        for case in cases:
            if case.kind == "repeat" and case.event_id is not None and watch.runs[case.event_id] == watch.completions[case.event_id] == 1:
                case.state = "duplicate"
    return seconds


def run() -> int:
    parser = argparse.ArgumentParser(prog="python -m headrace.demo")
    parser.add_argument("--environment", action="store_true", help="use what the settings name instead of the embedded stack")
    try:
        return asyncio.run(main(environment=parser.parse_args().environment))
    except (StackError, SettingsError) as error:
        console.print(f"[bold red]{error}[/]")
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    # That a request is tried again while a broker has just started is no news, and would tear the table.
    logging.getLogger("aiokafka").setLevel(logging.ERROR)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    leave(run())
