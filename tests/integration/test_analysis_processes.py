"""Processes that compute: what becomes of them when anybody dies."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from temporalio.exceptions import ApplicationError

from tests.support.analysis_runs import is_gone
from tests.support.eventually import eventually
from workers.analysis.processes import Processes

LOAD = {"file_type": "csv", "max_rows": 10, "max_bytes": 1000}

WORKER = """
import asyncio, sys
from pathlib import Path
from workers.analysis.processes import Processes

async def main():
    processes = Processes(1, 2**30)
    step = asyncio.create_task(processes.run("load_dataset", Path(sys.argv[1]), {"file_type": "csv", "max_rows": 9, "max_bytes": 9}))
    while not processes.pids:
        await asyncio.sleep(0.01)
    print(processes.pids[0], flush=True)
    await step

asyncio.run(main())
"""


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """A folder whose data set never comes: reading it takes as long as somebody lets it."""
    os.mkfifo(tmp_path / "source")
    return tmp_path


async def test_no_process_outlives_a_worker_that_was_killed(endless: Path) -> None:
    worker = await asyncio.create_subprocess_exec(sys.executable, "-c", WORKER, str(endless), stdout=asyncio.subprocess.PIPE)
    assert worker.stdout is not None
    pid = int(await worker.stdout.readline())
    await eventually(lambda: len(list(Path(f"/proc/{pid}/task").iterdir())) > 1, timeout=60)  # it has begun to listen, and to work
    worker.send_signal(signal.SIGKILL)
    await worker.wait()
    await eventually(lambda: is_gone(pid), timeout=60)


async def test_a_cancelled_step_leaves_no_process_computing(endless: Path) -> None:
    processes = Processes(1, 2**30)
    step = asyncio.create_task(processes.run("load_dataset", endless, LOAD))
    [pid] = await eventually(lambda: processes.pids)
    step.cancel()
    with pytest.raises(asyncio.CancelledError):
        await step
    await eventually(lambda: is_gone(pid), timeout=30)
    await processes.close()


async def test_a_step_that_grows_too_large_is_refused_and_not_tried_again(endless: Path) -> None:
    processes = Processes(1, 2**20)
    with pytest.raises(ApplicationError, match="HEADRACE_ANALYSIS_MEMORY_BYTES") as raised:
        await processes.run("load_dataset", endless, LOAD)
    assert (raised.value.type, raised.value.non_retryable) == ("DatasetTooLarge", True)
    await processes.close()


async def test_a_few_kilobytes_that_unpack_to_more_than_the_memory_are_refused(tmp_path: Path) -> None:
    """Parquet keeps a text that repeats once; its footer tells of rows and columns, not of that."""
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 900), ["x" * 2**20])
    pq.write_table(pa.table({"a": text}), tmp_path / "source", compression="zstd")
    assert (tmp_path / "source").stat().st_size < 100_000
    processes = Processes(1, 400 * 2**20)
    try:
        with pytest.raises(ApplicationError) as raised:
            await processes.run("load_dataset", tmp_path, {"file_type": "parquet", "max_rows": 10**6, "max_bytes": 10**6})
    finally:
        await processes.close()
    assert (raised.value.type, raised.value.non_retryable) == ("DatasetTooLarge", True)


async def test_a_killed_process_fails_its_own_step_for_another_try_and_no_other(
    endless: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    processes, other = Processes(2, 2**30), tmp_path_factory.mktemp("other")
    (other / "source").write_text("a,b\n1,2\n")
    doomed = asyncio.create_task(processes.run("load_dataset", endless, LOAD))
    [pid] = await eventually(lambda: processes.pids)
    spared = asyncio.create_task(processes.run("load_dataset", other, LOAD))
    await eventually(lambda: len(processes.pids) == 2)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(ApplicationError, match="-9") as raised:
        await doomed
    assert (raised.value.type, raised.value.non_retryable) == ("AnalysisInterrupted", False)
    assert (await spared)["rows"] == 1
    await processes.close()


async def test_a_fault_tells_its_place_and_nothing_of_the_data(tmp_path: Path) -> None:
    processes = Processes(1, 2**30)
    (tmp_path / "dataset.parquet").write_text("secret values")
    with pytest.raises(ApplicationError) as raised:
        await processes.run("validate_data", tmp_path, {"analysis_type": "exploratory", "max_rows": 9})
    assert raised.value.type == "ArrowInvalid"
    assert "secret" not in str(raised.value)
    assert "validate.py" in raised.value.message
    await processes.close()


async def test_the_processes_have_no_credentials(endless: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_S3_SECRET_ACCESS_KEY", "hunter2")
    processes = Processes(1, 2**30)
    step = asyncio.create_task(processes.run("load_dataset", endless, LOAD))
    [pid] = await eventually(lambda: processes.pids)
    environment = await eventually(lambda: Path(f"/proc/{pid}/environ").read_bytes())
    assert b"OMP_NUM_THREADS=1" in environment
    assert b"hunter2" not in environment
    step.cancel()
    await asyncio.wait([step])
    await processes.close()
