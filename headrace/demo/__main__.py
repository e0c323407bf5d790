"""`python -m headrace.demo`: sends, watches, verifies, writes `demo-output/`.

It uses the stack that runs in the state folder, or starts one and leaves no process behind. With `--environment` it uses the system that
the settings name, for instance the containers of `docker-compose.yml`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import os
import shutil
import sys
import sysconfig
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
from rich.console import Console
from rich.live import Live

from headrace import kafka, temporal
from headrace.demo import plan
from headrace.demo.live import table
from headrace.demo.page import page
from headrace.demo.plan import Case
from headrace.demo.watch import Watch
from headrace.figures import figures
from headrace.lifecycle import leave
from headrace.producer import RequestProducer
from headrace.settings import Settings, SettingsError, load, state_dir
from headrace.stack import control
from headrace.stack.errors import StackError
from headrace.stack.supervisor import Stack
from headrace.wire import Wire
from schemas import codec, headers
from schemas.catalog import Catalog, shipped
from schemas.ids import workflow_id
from schemas.topics import Topics

OUTPUT = Path("demo-output")
_PATIENCE_SECONDS = 120.0

console = Console()


async def main(*, environment: bool = False) -> int:
    """The demo's exit code: 0 when every record ended as it must. `environment`: on what the settings name, not on the embedded stack."""
    began = time.monotonic()
    async with _environment() if environment else _stack() as (settings, ui):
        wire = Wire.of(settings, Catalog(shipped()))
        cases = plan.cases()
        watch = Watch(settings, wire, await temporal.connect(settings), cases)
        console.print(f"ready after [bold]{time.monotonic() - began:.1f} s[/]; sending {len(cases)} records to {_requests(settings)}\n")
        try:
            async with watch.following():
                await _send_and_watch(settings, wire, watch, cases)
            missing = [*await _verify(settings, watch, cases), *await _write_output(cases)]
        finally:
            await wire.close()
        _tell(ui, cases, missing)
        if not environment:
            _tell_more(cases)
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


async def _send_and_watch(settings: Settings, wire: Wire, watch: Watch, cases: list[Case]) -> None:
    with Live(get_renderable=lambda: table(cases), console=console, refresh_per_second=8):
        await _send(settings, wire, watch, cases)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await watch.all_ended()
                # The offsets are committed up to the end only when every record has its disposition, the repeated one too.
                await watch.no_lag()
        await watch.count_runs()
        for case in cases:
            if case.kind == "repeat" and case.event_id is not None and watch.runs[case.event_id] == watch.completions[case.event_id] == 1:
                case.state = "duplicate"


async def _send(settings: Settings, wire: Wire, watch: Watch, cases: list[Case]) -> None:
    raw = kafka.producer(settings, idempotent=False)
    await raw.start()
    try:
        async with RequestProducer(settings, wire) as producer:
            for case in cases:
                watch.sent(case)
                if case.kind in ("request", "repeat") and case.request is not None:
                    await producer.send(case.request)
                else:
                    await raw.send_and_wait(_requests(settings), _value(wire, case), key=case.user.encode(), headers=_headers(case))
    finally:
        await raw.stop()


def _value(wire: Wire, case: Case) -> bytes:
    """What the public producer would not send: it refuses what the ingress would refuse."""
    if case.request is None:
        return case.value or b""
    schema = wire.catalog.named(plan.RECORD)
    return codec.frame_single_object(schema, codec.encode_body(schema, case.request.model_dump()))


def _headers(case: Case) -> headers.Headers:
    if case.request is None:
        return []
    return headers.cloud_event(
        event_id=case.request.event_id, event_type=plan.RECORD, source="headrace/demo", time=case.request.requested_at
    )


async def _verify(settings: Settings, watch: Watch, cases: list[Case]) -> list[str]:
    """What is not as it must be."""
    missing = [f"{case.about!r} ended as '{case.state}', not '{case.expected}'" for case in cases if case.state != case.expected]
    for case in cases:
        if case.kind == "request" and case.event_id is not None:
            if watch.runs[case.event_id] != 1:
                missing.append(f"{case.about!r} has {watch.runs[case.event_id]} runs, not 1")
            if watch.completions[case.event_id] != 1:
                missing.append(f"{case.about!r} has {watch.completions[case.event_id]} completions, not 1")
    if lag := (await figures(settings)).lag:
        missing.append(f"{lag} request records have no disposition yet")
    return missing


async def _write_output(cases: list[Case]) -> list[str]:
    """Fetches every image by its presigned URL, checks it, writes the page. What is missing is said."""
    shutil.rmtree(OUTPUT, ignore_errors=True)
    (OUTPUT / "images").mkdir(parents=True)
    missing: list[str] = []
    images: dict[str, str] = {}
    async with httpx.AsyncClient() as http:
        for case in cases:
            result = (case.completion or {}).get("result")
            if not isinstance(result, dict):
                continue
            answer = await http.get(result["url"])
            if answer.status_code != httpx.codes.OK or hashlib.sha256(answer.content).hexdigest() != result["sha256"]:
                missing.append(f"the image of {case.about!r} is not what its completion says ({answer.status_code} from {result['url']})")
                continue
            name = f"images/{case.event_id}.{result['key'].rsplit('.', 1)[-1]}"
            await asyncio.to_thread((OUTPUT / name).write_bytes, answer.content)
            images[str(case.event_id)] = name
    (OUTPUT / "index.html").write_text(page(cases, images), encoding="utf-8")
    return missing


def _tell(ui: str, cases: list[Case], missing: list[str]) -> None:
    first = workflow_id("image", cases[0].event_id) if cases[0].event_id else ""
    done = [case.seconds for case in cases if case.state == "SUCCEEDED" and case.seconds is not None]
    console.print()
    if missing:
        console.print("[bold red]Not as it must be:[/]")
        for line in missing:
            console.print(f"  - {line}", markup=False)
    else:
        console.print(
            f"[bold green]All {len(cases)} records ended as they must[/]; the slowest of {len(done)} images took {max(done):.1f} s."
        )
    console.print(f"Images beside their requests and completions:  {OUTPUT / 'index.html'}", highlight=False)
    console.print(f"One run in Temporal's UI:  {ui}/namespaces/default/workflows/{first}", highlight=False, soft_wrap=True)


def _tell_more(cases: list[Case]) -> None:
    command = _command()
    console.print(
        f"To look further:  {command} up --detach  keeps the system running, with these runs in it; then\n"
        f"  {command} status\n  {command} completions image --event-id {cases[0].event_id} --json",
        highlight=False,
        soft_wrap=True,
    )


def _command() -> Path:
    """The command that was installed with this Python, as it is called from here."""
    installed = Path(sysconfig.get_path("scripts")) / "headrace"
    return installed.relative_to(Path.cwd()) if installed.is_relative_to(Path.cwd()) else installed


def _requests(settings: Settings) -> str:
    return Topics(settings.topic_prefix).requests("image")


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
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    leave(run())
