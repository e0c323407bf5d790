"""How a service ends that cannot."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

_SERVICE = """
import asyncio, threading, time
from headrace import lifecycle

lifecycle._END_SECONDS = 0.1

async def main(settings, stop):
    print("ready", flush=True)
    await stop.wait()
    {hangs}

lifecycle.run_service("stuck", main)
"""


@pytest.mark.parametrize("hangs", ["await asyncio.Event().wait()", "threading.Event().wait()"], ids=["a coroutine", "the event loop"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_service_that_is_told_to_stop_and_hangs_ends_by_itself(hangs: str, number: signal.Signals, tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "HEADRACE_STATE_DIR": str(tmp_path), "HEADRACE_INGRESS_DRAIN_SECONDS": "0.1"}
    with subprocess.Popen(
        [sys.executable, "-c", _SERVICE.format(hangs=hangs)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as service:
        try:
            assert service.stdout is not None
            assert service.stdout.readline() == "ready\n"
            service.send_signal(number)
            _, said = service.communicate(timeout=60)
        finally:
            service.kill()
    assert service.returncode == 1
    assert "service_does_not_end" in said
