"""The table of finished analyses."""

from __future__ import annotations

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.exceptions import ApplicationError

from headrace.store.away import why
from headrace.store.insert import insert_once, upsert
from headrace.store.tables import ANALYSES
from schemas.errors import FailureType
from workers.analysis.models import SaveAnalysis, SavedAnalysis


class SqlAnalyses:
    """One row for each event ID: the latest generation's."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def save(self, given: SaveAnalysis, saved: SavedAnalysis) -> None:
        """Raises `ApplicationError(STORAGE_UNAVAILABLE)`."""
        row = {
            **given.model_dump(include={"event_id", "user_id", "file_path", "file_type", "analysis_type", "requested_at"}),
            "analysis_id": saved.analysis_id,
            "rows": given.dataset.rows,
            "columns": len(given.dataset.columns),
            "clusters": given.clustering.clusters if given.clustering else None,
            "summary": saved.summary,
            "report_key": saved.key,
            "report_sha256": saved.sha256,
        }
        try:
            async with self._engine.begin() as connection:
                if given.generation == 1:
                    await insert_once(connection, ANALYSES, row)
                else:
                    await upsert(connection, ANALYSES, row)
        except (SQLAlchemyError, OSError) as error:
            said = f"the database does not answer as it must: {why(error)}"
            raise ApplicationError(said, type=FailureType.STORAGE_UNAVAILABLE) from error
