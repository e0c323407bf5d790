"""How much of a data set is read."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.errors import FailureType
from workers.analysis.compute.refusal import Refused

MAX_COLUMNS = 500
"""More than a report can show, and the names of more would be large in Temporal's payloads."""


@dataclass(frozen=True, slots=True)
class Limits:
    max_rows: int
    max_bytes: int

    def hold(self, *, rows: int = 0, columns: int = 0) -> None:
        """Raises `Refused(DATASET_TOO_LARGE)`."""
        if columns > MAX_COLUMNS:
            said = f"the data set has {columns:,} columns, at most {MAX_COLUMNS} are read: leave out those that are not needed"
            raise Refused(FailureType.DATASET_TOO_LARGE, said)
        if rows > self.max_rows:
            said = f"the data set has more than {self.max_rows:,} rows: send fewer, or raise HEADRACE_ANALYSIS_MAX_ROWS"
            raise Refused(FailureType.DATASET_TOO_LARGE, said)
