"""`python -m benchmarks.analysis [ROWS]`: a table of ROWS x 20 through every step of an analysis, on the real S3.

Prints each step's seconds beside the reference's time-out, and the most memory that the computing process and this one had; writes
`benchmarks/results/analysis.json`. The steps run one after the other, as in a run; Temporal and Kafka take no part.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import numpy as np
import pandas as pd
from temporalio.testing import ActivityEnvironment

from headrace import s3
from headrace.settings import Settings
from headrace.stack.supervisor import Stack
from workers.analysis.activities import AnalysisActivities, Limits
from workers.analysis.models import ClusterDataset, Draw, LoadDataset, SaveAnalysis, SavedAnalysis, ValidateDataset
from workers.analysis.processes import Processes
from workers.analysis.storage import S3Objects

G = TypeVar("G")
T = TypeVar("T")

RESULTS = Path(__file__).parent / "results" / "analysis.json"
TIME_OUTS = {"load_dataset": 60, "validate_data": 30, "perform_exploratory_analysis": 120, "apply_clustering": 180,
    "generate_visualizations": 90, "save_analysis_results": 30}  # fmt: skip


class NoTable:
    async def save(self, given: SaveAnalysis, saved: SavedAnalysis) -> None:
        pass


def table(rows: int) -> pd.DataFrame:
    """Fourteen columns of numbers in five groups, two whole numbers, two categories, a time and a text."""
    drawn = np.random.default_rng(7)
    groups = drawn.integers(0, 5, rows)
    centres = drawn.normal(0, 4, (5, 14))
    numbers = centres[groups] + drawn.normal(0, 1, (rows, 14))
    frame = pd.DataFrame({f"measure_{number}": numbers[:, number].round(4) for number in range(14)})
    frame.loc[drawn.random(rows) < 0.02, "measure_3"] = np.nan
    frame["orders"] = drawn.poisson(4, rows)
    frame["number"] = np.arange(rows)
    frame["region"] = np.array(["north", "south", "east", "west"])[drawn.integers(0, 4, rows)]
    frame["plan"] = np.array(["free", "plus", "pro"])[np.minimum(groups, 2)]
    frame["seen_at"] = pd.Timestamp("2025-01-01") + pd.to_timedelta(drawn.integers(0, 31_536_000, rows), unit="s")
    frame["note"] = np.char.add("seen by warden ", drawn.integers(0, 99_999, rows).astype(str))
    return frame


class Watched:
    """The processes, and the most memory that any of them has had."""

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self.peak_kib = 0
        self.cpu: dict[str, float] = {}

    async def run(self, step: str, folder: Path, given: dict[str, object]) -> dict[str, object]:
        running = asyncio.ensure_future(self.processes.run(step, folder, given))
        before = last = 0.0
        while not running.done():
            await asyncio.wait([running], timeout=0.05)
            for pid in self.processes.pids:
                self.peak_kib = max(self.peak_kib, high_water(pid))
                last = cpu_seconds(pid) or last
                before = before or last
        self.cpu[step] = round(last - before, 2)
        return running.result()


def high_water(pid: int) -> int:
    """KiB that were resident at the most."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0)


def cpu_seconds(pid: int) -> float:
    """User and system, of the process so far."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(settings: Settings, rows: int) -> dict[str, object]:
    client = s3.client(settings)
    client.create_bucket(Bucket=settings.s3_bucket)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "table.csv"
        await asyncio.to_thread(lambda: table(rows).to_csv(file, index=False))
        size = file.stat().st_size
        await asyncio.to_thread(client.upload_file, str(file), settings.s3_bucket, "uploads/bench/table.csv")
    watched = Watched(Processes(1, settings.analysis_memory_bytes))
    limits = Limits(settings.s3_bucket, (), settings.analysis_max_bytes, settings.analysis_max_rows)
    acts = AnalysisActivities(S3Objects(client, settings.s3_bucket, 600), watched, NoTable(), limits)
    seconds: dict[str, float] = {}

    async def timed(name: str, work: Awaitable[T]) -> T:
        began = time.monotonic()
        done = await work
        seconds[name] = round(time.monotonic() - began, 2)
        print(f"{name:30} {seconds[name]:7.2f} s of {TIME_OUTS[name]:3}, {watched.cpu[name]:6.2f} s of CPU", flush=True)
        return done

    def act(method: Callable[[G], Awaitable[T]], given: G) -> Awaitable[T]:
        running: Awaitable[T] = ActivityEnvironment().run(method, given)
        return running

    of = {"event_id": uuid4(), "user_id": "bench", "file_path": f"s3://{settings.s3_bucket}/uploads/bench/table.csv", "file_type": "csv"}
    try:
        dataset = await timed("load_dataset", act(acts.load_dataset, LoadDataset.model_validate(of)))
        validation = await timed("validate_data", act(acts.validate_data, ValidateDataset(dataset=dataset, analysis_type="clustering")))
        explored = await timed("perform_exploratory_analysis", act(acts.perform_exploratory_analysis, dataset))
        asked = ClusterDataset(dataset=dataset, n_clusters=explored.suggested_clusters or 3)
        clustered = await timed("apply_clustering", act(acts.apply_clustering, asked))
        drawing = Draw(event_id=dataset.event_id, exploration_key=explored.key, clustering_key=clustered.key)
        drawn = await timed("generate_visualizations", act(acts.generate_visualizations, drawing))
        saving = SaveAnalysis.model_validate(
            {
                **of,
                "analysis_type": "clustering",
                "requested_at": datetime.now(UTC),
                "dataset": dataset,
                "findings": validation.warnings,
                "exploration": explored,
                "clustering": clustered,
                "visualizations": drawn,
            }
        )
        saved = await timed("save_analysis_results", act(acts.save_analysis_results, saving))
    finally:
        await watched.processes.close()
        client.close()
    print(saved.summary)
    return {
        "rows": rows,
        "columns": len(dataset.columns),
        "csv_bytes": size,
        "seconds": seconds,
        "cpu_seconds_of_the_computing_process": watched.cpu,
        "time_outs": TIME_OUTS,
        "clusters": clustered.clusters,
        "peak_mib_of_the_computing_process": watched.peak_kib // 1024,
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
    }


async def main(rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with Stack(Path(folder), services=False) as stack:
            given = {key.lower().removeprefix("headrace_"): value for key, value in stack.addresses.environment().items()}
            found = await measure(Settings.model_validate({**given, "s3_bucket": "bench"}), rows)
    print(f"peak memory of the computing process: {found['peak_mib_of_the_computing_process']} MiB")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000))
