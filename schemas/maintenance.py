"""The maintenance domain's records."""

from typing import Annotated

from pydantic import Field

from schemas.completion import Completion
from schemas.request import Model, Request

DAYS_OLD = 90
"""The age at which history is archived, unless a request says another; the scheduled run's."""


class MaintenanceRequested(Request):
    days_old: Annotated[int, Field(ge=1, le=36500)] = DAYS_OLD


class MaintenanceResult(Model):
    """What was done. For a run that failed or was cancelled: what had been done until then."""

    files_cleaned: int = 0
    records_archived: int = 0
    analytics_updated: bool = False
    """Whether every day that had changed was recomputed."""
    bytes_freed: int = 0
    """Of temporary files."""
    archives_written: int = 0
    archive_bytes: int = 0
    archive_keys: list[str] = Field(default_factory=list)
    """The first 200 of them."""
    days_recomputed: int = 0
    days_left_out: list[str] = Field(default_factory=list)
    """Days of which an archive cannot be read; what was known of them is kept."""


MaintenanceCompleted = Completion[MaintenanceResult]
