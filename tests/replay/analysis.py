"""Runs of the analysis workflow whose histories are kept."""

from __future__ import annotations

import signal

from temporalio.client import Client

from tests.support.analysis_runs import Handle, Interfering, start, uploaded, working
from tests.support.eventually import eventually
from tests.support.runs import Cases, FakeNotifier, ended
from workers.analysis.activities import Compute
from workers.analysis.processes import Processes


async def _one(client: Client, processes: Processes, compute: Compute, data: bytes | None = None, **changed: object) -> Handle:
    try:
        async with working(client, compute, uploaded(data), FakeNotifier()):
            return await ended(await start(client, **changed))
    finally:
        await processes.close()


async def explored(client: Client) -> Handle:
    processes = Processes(1, 2**30)
    return await _one(client, processes, processes)


async def clustered(client: Client) -> Handle:
    processes = Processes(1, 2**30)
    return await _one(client, processes, processes, analysis_type="clustering")


async def interrupted(client: Client) -> Handle:
    """A step's process is killed, and the next attempt succeeds."""
    processes = Processes(1, 2**30)
    return await _one(client, processes, Interfering(processes, signal.SIGKILL, only="validate_data"))


async def invalid(client: Client) -> Handle:
    processes = Processes(1, 2**30)
    return await _one(client, processes, processes, data=b"a,b\n")


async def unreadable(client: Client) -> Handle:
    processes = Processes(1, 2**30)
    return await _one(client, processes, processes, data=b"%PDF-1.7")


async def cancelled(client: Client) -> Handle:
    """In the middle of a step."""
    processes = Processes(1, 2**30)
    compute = Interfering(processes, signal.SIGSTOP, only="validate_data")
    try:
        async with working(client, compute, uploaded(), FakeNotifier()):
            handle = await start(client)
            await eventually(lambda: compute.hit, timeout=60)
            await handle.cancel()
            return await ended(handle)
    finally:
        await processes.close()


CASES: dict[str, Cases] = {
    "DataAnalysisWorkflow": {
        "explored": explored,
        "clustered": clustered,
        "interrupted": interrupted,
        "invalid": invalid,
        "unreadable": unreadable,
        "cancelled": cancelled,
    }
}
