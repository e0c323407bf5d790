"""The analysis activities. Light to import: storage, processes and the table are handed in by the composition root.

Each fetches what it works on into a folder of its own, has a process compute there, and stores what that leaves behind. The
process sees that folder alone: no bucket, no key, no network is needed to read a stranger's file.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from temporalio import activity

from schemas import ids
from workers.analysis.files import CLUSTERING, DATASET, EXPLORATION, LABELS, REPORT, SOURCE
from workers.analysis.logic import readable, result_key, scratch_key
from workers.analysis.models import (
    ClusterDataset,
    Clustering,
    Dataset,
    Draw,
    Exploration,
    LoadDataset,
    SaveAnalysis,
    SavedAnalysis,
    ValidateDataset,
    Validation,
    Visualization,
    Visualizations,
)
from workers.heartbeat import heartbeat


@dataclass(frozen=True, slots=True)
class Stored:
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may read, and how much of it."""

    bucket: str
    buckets: Collection[str]
    max_bytes: int
    max_rows: int


class Objects(Protocol):
    """Where files lie. Each raises `ApplicationError` with a `FailureType`."""

    async def fetch_upload(self, bucket: str, key: str, into: Path, max_bytes: int) -> None: ...

    async def fetch(self, key: str, into: Path) -> None: ...

    async def put(self, key: str, file: Path, content_type: str) -> Stored: ...

    async def url(self, key: str) -> str: ...


class Compute(Protocol):
    """Runs a step of `workers.analysis.child` in a process. Raises `ApplicationError` with a `FailureType`."""

    async def run(self, step: str, folder: Path, given: dict[str, Any]) -> dict[str, Any]: ...


class Analyses(Protocol):
    """The table of finished analyses; writing one twice is writing it once."""

    async def save(self, given: SaveAnalysis, saved: SavedAnalysis) -> None: ...


class AnalysisActivities:
    def __init__(self, objects: Objects, compute: Compute, analyses: Analyses, limits: Limits, workplaces: Path | None = None) -> None:
        """Each step works in a folder of its own below `workplaces`, the system's temporary one unless given."""
        self._objects = objects
        self._compute = compute
        self._analyses = analyses
        self._limits = limits
        self._workplaces = workplaces

    def all(self) -> Sequence[Callable[..., Any]]:
        """What a worker registers."""
        return [
            self.load_dataset,
            self.validate_data,
            self.perform_exploratory_analysis,
            self.apply_clustering,
            self.generate_visualizations,
            self.save_analysis_results,
        ]

    @activity.defn(name="load_dataset")
    async def load_dataset(self, given: LoadDataset) -> Dataset:
        """Reads the file whatever its dialect, and keeps it as Parquet."""
        limits = self._limits
        bucket, key = readable(given.file_path, given.user_id, limits.bucket, limits.buckets)
        async with self._workplace() as folder:
            await self._objects.fetch_upload(bucket, key, folder / SOURCE, limits.max_bytes)
            asked = {"file_type": given.file_type, "max_rows": limits.max_rows, "max_bytes": limits.max_bytes}
            read = await self._compute.run("load_dataset", folder, asked)
            key = scratch_key(given.event_id, given.generation, DATASET)
            stored = await self._objects.put(key, folder / DATASET, "application/vnd.apache.parquet")
        about = {"event_id": given.event_id, "generation": given.generation, "key": key}
        return Dataset(**about, size_bytes=stored.size_bytes, sha256=stored.sha256, **read)

    @activity.defn(name="validate_data")
    async def validate_data(self, given: ValidateDataset) -> Validation:
        async with self._beside(given.dataset) as folder:
            asked = {"analysis_type": given.analysis_type, "max_rows": self._limits.max_rows}
            found = Validation.model_validate(await self._compute.run("validate_data", folder, asked))
        return found.model_copy(update={"warnings": [*given.dataset.findings, *found.warnings]})

    @activity.defn(name="perform_exploratory_analysis")
    async def perform_exploratory_analysis(self, dataset: Dataset) -> Exploration:
        async with self._beside(dataset) as folder:
            found = await self._compute.run("perform_exploratory_analysis", folder, {})
            key = await self._keep(scratch_key(dataset.event_id, dataset.generation, EXPLORATION), folder / EXPLORATION, "application/json")
        return Exploration(key=key, **found)

    @activity.defn(name="apply_clustering")
    async def apply_clustering(self, given: ClusterDataset) -> Clustering:
        whose = given.dataset.event_id, given.dataset.generation
        async with self._beside(given.dataset) as folder:
            found = await self._compute.run("apply_clustering", folder, {"n_clusters": given.n_clusters})
            key = await self._keep(scratch_key(*whose, CLUSTERING), folder / CLUSTERING, "application/json")
            labels = await self._keep(result_key(*whose, LABELS), folder / LABELS, "application/vnd.apache.parquet")
        return Clustering(key=key, labels_key=labels, **found)

    @activity.defn(name="generate_visualizations")
    async def generate_visualizations(self, given: Draw) -> Visualizations:
        async with self._workplace() as folder:
            await self._fetch_found(given.exploration_key, given.clustering_key, folder)
            drawn = await self._compute.run("generate_visualizations", folder, {})
            pictures = []
            for picture in drawn["pictures"]:
                file = f"{picture['name']}.png"
                key = await self._keep(result_key(given.event_id, given.generation, file), folder / file, "image/png")
                pictures.append(Visualization(key=key, url=await self._objects.url(key), **picture))
        return Visualizations(pictures=pictures)

    @activity.defn(name="save_analysis_results")
    async def save_analysis_results(self, given: SaveAnalysis) -> SavedAnalysis:
        """The report first, then its row: a row names a report that is there."""
        clustering = given.clustering
        async with self._workplace() as folder:
            await self._fetch_found(given.exploration.key, clustering.key if clustering else None, folder)
            for picture in given.visualizations.pictures:
                await self._objects.fetch(picture.key, folder / f"{picture.name}.png")
            written = await self._compute.run("save_analysis_results", folder, given.model_dump(mode="json"))
            key = result_key(given.event_id, given.generation, REPORT)
            stored = await self._objects.put(key, folder / REPORT, "text/html; charset=utf-8")
        saved = SavedAnalysis(
            analysis_id=ids.analysis_id(given.event_id),
            summary=written["summary"],
            key=key,
            url=await self._objects.url(key),
            size_bytes=stored.size_bytes,
            sha256=stored.sha256,
        )
        await self._analyses.save(given, saved)
        return saved

    @contextlib.asynccontextmanager
    async def _beside(self, dataset: Dataset) -> AsyncIterator[Path]:
        async with self._workplace() as folder:
            await self._objects.fetch(dataset.key, folder / DATASET)
            yield folder

    @contextlib.asynccontextmanager
    async def _workplace(self) -> AsyncIterator[Path]:
        """A folder of the step's own, and heartbeats while it works there."""
        async with heartbeat():
            folder = Path(await asyncio.to_thread(tempfile.mkdtemp, dir=self._workplaces))
            try:
                yield folder
            finally:
                # Not awaited: a cancelled step must clean up too.
                shutil.rmtree(folder, ignore_errors=True)

    async def _fetch_found(self, exploration: str, clustering: str | None, folder: Path) -> None:
        await self._objects.fetch(exploration, folder / EXPLORATION)
        if clustering is not None:
            await self._objects.fetch(clustering, folder / CLUSTERING)

    async def _keep(self, key: str, file: Path, content_type: str) -> str:
        await self._objects.put(key, file, content_type)
        return key
