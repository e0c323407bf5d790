"""One data set, analysed for one request."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from schemas.analysis import DataAnalysisRequested, DataAnalysisResult
    from schemas.request import Accepted
    from workers.analysis.activities import AnalysisActivities as Acts
    from workers.analysis.logic import invalid, told
    from workers.analysis.models import (
        ClusterDataset,
        Clustering,
        Draw,
        LoadDataset,
        SaveAnalysis,
        ValidateDataset,
    )
    from workers.completion import concluded

GivenT = TypeVar("GivenT")
TakenT = TypeVar("TakenT")

_COMPLETED = "headrace.analysis.DataAnalysisCompleted"
_CLUSTERS = 3  # the reference's, where the exploration suggests none


@workflow.defn(name="DataAnalysisWorkflow")
class DataAnalysisWorkflow:
    """Loads, validates, explores, clusters when asked to, draws, saves; then tells, whatever happened."""

    @workflow.run
    async def run(self, accepted: Accepted[DataAnalysisRequested]) -> DataAnalysisResult:
        return await concluded(accepted, _COMPLETED, self._analyse(accepted.request, accepted.generation), history=_about)

    async def _analyse(self, request: DataAnalysisRequested, generation: int) -> DataAnalysisResult:
        of = {**request.model_dump(include={"event_id", "user_id", "file_path", "file_type"}), "generation": generation}
        dataset = await _step(Acts.load_dataset, LoadDataset(**of), 60, RetryPolicy(maximum_attempts=3))
        checked = ValidateDataset(dataset=dataset, analysis_type=request.analysis_type)
        validation = await _step(Acts.validate_data, checked, 30, RetryPolicy(maximum_attempts=2))
        if not validation.valid:
            raise invalid(validation)
        patient = RetryPolicy(maximum_attempts=3, initial_interval=timedelta(seconds=5))
        exploration = await _step(Acts.perform_exploratory_analysis, dataset, 120, patient)
        clustering: Clustering | None = None
        if request.analysis_type == "clustering":
            asked = ClusterDataset(dataset=dataset, n_clusters=exploration.suggested_clusters or _CLUSTERS)
            clustering = await _step(Acts.apply_clustering, asked, 180, RetryPolicy(maximum_attempts=2))
        keys = {"exploration_key": exploration.key, "clustering_key": clustering.key if clustering else None}
        drawn = Draw(event_id=request.event_id, generation=generation, **keys)
        pictures = await _step(Acts.generate_visualizations, drawn, 90, RetryPolicy(maximum_attempts=3))
        findings = told([*validation.warnings, *exploration.findings, *(clustering.findings if clustering else [])])
        saved = await _step(
            Acts.save_analysis_results,
            SaveAnalysis(
                **of,
                analysis_type=request.analysis_type,
                requested_at=request.requested_at,
                dataset=dataset,
                findings=findings,
                exploration=exploration,
                clustering=clustering,
                visualizations=pictures,
            ),
            30,
            RetryPolicy(maximum_attempts=5),
        )
        return DataAnalysisResult(
            analysis_id=saved.analysis_id,
            summary=saved.summary,
            rows=dataset.rows,
            columns=len(dataset.columns),
            clusters=clustering.clusters if clustering else None,
            report_key=saved.key,
            report_url=saved.url,
            report_size_bytes=saved.size_bytes,
            report_sha256=saved.sha256,
            visualization_urls=pictures.urls,
            findings=findings,
        )


async def _step(method: Callable[[Acts, GivenT], Coroutine[Any, Any, TakenT]], given: GivenT, seconds: int, retries: RetryPolicy) -> TakenT:
    """The reference's time-outs and retries; the heartbeat is ours, so that a killed worker costs seconds and a cancel reaches the work."""
    return await workflow.execute_activity_method(
        method,
        given,
        start_to_close_timeout=timedelta(seconds=seconds),
        heartbeat_timeout=timedelta(seconds=10),
        retry_policy=retries,
    )


def _about(result: DataAnalysisResult | None) -> dict[str, Any]:
    if result is None:
        return {}
    return {
        "key": result.report_key,
        "url": result.report_url,
        "size_bytes": result.report_size_bytes,
        "sha256": result.report_sha256,
    }
