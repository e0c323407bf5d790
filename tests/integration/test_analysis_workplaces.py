"""What a killed analysis worker leaves on its disk."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import pytest

from workers.analysis.workplaces import workplaces

_WORKER = """
import sys, tempfile
from pathlib import Path
from workers.analysis.workplaces import workplaces
with workplaces() as folder:
    (Path(tempfile.mkdtemp(dir=folder)) / "dataset.parquet").write_bytes(b"half a gigabyte")
    print(folder, flush=True)
    sys.stdin.read()
"""


async def test_a_data_set_that_a_killed_worker_left_does_not_stay_and_one_of_a_living_worker_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)  # asked anew
    killed, living = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _WORKER), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        for _ in range(2)
    ]
    left, kept = [Path((await worker.stdout.readline()).decode().strip()) for worker in (killed, living) if worker.stdout]
    killed.kill()
    await killed.wait()
    assert len(list(left.rglob("dataset.parquet"))) == 1
    with workplaces() as own:
        assert set(tmp_path.iterdir()) == {kept, own}
        assert len(list(kept.rglob("dataset.parquet"))) == 1
    assert living.stdin is not None
    living.stdin.close()
    assert await living.wait() == 0
    assert list(tmp_path.iterdir()) == []
