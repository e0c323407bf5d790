"""`python -m workers` as it is set up wrongly: it ends at once, with a sentence, before it takes work from anybody."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from pathlib import Path

import httpx
import pytest

from headrace import temporal
from headrace.checks import all_findings
from headrace.lifecycle import Misconfigured
from headrace.settings import Settings
from tests.support.eventually import eventually
from tests.support.temporal_namespace import in_namespace_of_its_own
from workers.__main__ import serve

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "own_workflow"


async def started(folder: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "workers", *arguments),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HEADRACE_STATE_DIR": str(folder / "state"), **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "says"),
    [
        ([], {"HEADRACE_ROUTES_FILE": str(EXAMPLE / "routes.toml")}, 1, "OrderWorkflow, which no worker has"),
        ([], {"HEADRACE_ROUTES_FILE": "nowhere.toml"}, 1, "nowhere.toml cannot be read"),
        ([], {"HEADRACE_WORKER_MODULES": "acme.nothing"}, 1, "HEADRACE_WORKER_MODULES: acme.nothing cannot be imported"),
        (["--domain", "weather"], {}, 2, "no domain is called 'weather'; there are: "),
    ],
)
async def test_workers_that_cannot_serve_the_routes_do_not_start(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], code: int, says: str
) -> None:
    ended, said = await started(tmp_path, *arguments, **environment)
    assert (ended, "Traceback" in said) == (code, False), said
    assert says in said


async def test_doctor_says_what_does_not_fit(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_ROUTES_FILE", str(EXAMPLE / "routes.toml"))
    found = {finding.check: finding for finding in await all_findings(settings)}
    assert found["workers"].verdict == "failed"
    assert "OrderWorkflow, which no worker has" in found["workers"].detail
    monkeypatch.delenv("HEADRACE_ROUTES_FILE")
    found = {finding.check: finding for finding in await all_findings(settings)}
    assert found["workers"].verdict == "ok", found["workers"].detail


async def test_the_sdks_own_metrics_are_served_where_a_setting_says(settings: Settings) -> None:
    settings = (await in_namespace_of_its_own(settings)).model_copy(update={"temporal_metrics_port": free_port()})
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(settings, stop, "image"))
    address = f"http://127.0.0.1:{settings.temporal_metrics_port}/metrics"
    async with httpx.AsyncClient(trust_env=False) as client:

        async def served() -> bool:
            assert not serving.done(), serving
            with contextlib.suppress(httpx.TransportError):
                return "temporal_worker_task_slots_available" in (await client.get(address)).text
            return False

        await eventually(served, timeout=30)
    with pytest.raises(Misconfigured, match=r"HEADRACE_TEMPORAL_METRICS_PORT: 127\.0\.0\.1:"):
        temporal.runtime(settings)
    stop.set()
    await asyncio.wait_for(serving, 30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
