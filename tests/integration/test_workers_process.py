"""`python -m workers` as it is set up wrongly: it ends at once, with a sentence, before it takes work from anybody."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from headrace.checks import all_findings
from headrace.settings import Settings

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
