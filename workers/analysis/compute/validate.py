"""Step `validate_data`: what stops an analysis, and what its reader should know."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from schemas.analysis import Finding
from schemas.errors import FailureType
from workers.analysis.compute.limits import MAX_COLUMNS
from workers.analysis.compute.wording import count, listed, share
from workers.analysis.files import DATASET
from workers.analysis.models import Validation

_MANY_MISSING = 0.4
_FEW_ROWS = 10


def run(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    frame = pd.read_parquet(folder / DATASET)
    return validate(frame, given["analysis_type"], given["max_rows"]).model_dump(mode="json")


def validate(frame: pd.DataFrame, analysis_type: str, max_rows: int) -> Validation:
    """Errors are those that leave nothing to analyse."""
    errors = list(_errors(frame, analysis_type, max_rows))
    return Validation(valid=not errors, errors=errors, warnings=[] if errors else list(_warnings(frame)))


def _errors(frame: pd.DataFrame, analysis_type: str, max_rows: int) -> Iterator[Finding]:
    if len(frame) == 0 or len(frame.columns) == 0:
        yield _error(FailureType.DATASET_EMPTY, "The data set has no rows: upload one with a header and at least one row.")
        return
    if len(frame) > max_rows or len(frame.columns) > MAX_COLUMNS:
        said = (
            f"The data set has {len(frame):,} rows and {len(frame.columns):,} columns, at most {max_rows:,} and {MAX_COLUMNS} are analysed."
        )
        yield _error(FailureType.DATASET_TOO_LARGE, said)
    if not frame.notna().to_numpy().any():
        yield _error(FailureType.DATASET_ALL_MISSING, "Every value of the data set is missing: check its delimiter and its header.")
    elif len(frame.columns) == 1 and analysis_type == "clustering":
        said = "The data set has one column, clustering needs two or more: check its delimiter, or ask for an exploratory analysis."
        yield _error(FailureType.DATASET_ONE_COLUMN, said)


def _warnings(frame: pd.DataFrame) -> Iterator[Finding]:
    rows = len(frame)
    if len(frame.columns) == 1:
        yield _warning("one_column", "There is only one column. If the file has more, its delimiter is an unusual one.")
    if rows < _FEW_ROWS:
        yield _warning("few_rows", f"There are only {count(rows, 'row')}: shares and averages say little.")
    repeated = int(frame.duplicated().sum())
    if repeated:
        has = "row repeats" if repeated == 1 else "rows repeat"
        yield _warning("duplicate_rows", f"{repeated:,} {has} an earlier one ({share(repeated, rows)}); they are counted as they are.")
    for name, twin in _twins(frame):
        yield _warning("duplicate_columns", f"The column has the same values as {twin}.", name)
    for name, missing in zip(map(str, frame.columns), frame.isna().sum(), strict=True):
        if missing == rows:
            yield _warning("all_missing", "The column has no value at all.", name)
        elif missing > _MANY_MISSING * rows:
            yield _warning("many_missing", f"{share(missing, rows)} of the values are missing.", name)
    constant = [
        str(name) for name in frame.columns if rows > 1 and frame[name].notna().all() and (frame[name] == frame[name].iloc[0]).all()
    ]
    if constant:
        yield _warning("constant_columns", f"{listed(constant)} {'has' if len(constant) == 1 else 'have'} the same value in every row.")


def _twins(frame: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Columns with all the values of an earlier one."""
    seen: dict[tuple[str, int], list[str]] = {}
    for name in map(str, frame.columns):
        column = frame[name]
        if column.isna().all():
            continue
        mark = (str(column.dtype), int(pd.util.hash_pandas_object(column, index=False).sum()))
        twin = next((other for other in seen.get(mark, []) if frame[other].equals(column)), None)
        if twin is not None:
            yield name, twin
        seen.setdefault(mark, []).append(name)


def _error(code: FailureType, said: str) -> Finding:
    return Finding(code=code, severity="error", message=said)


def _warning(code: str, said: str, column: str | None = None) -> Finding:
    return Finding(code=code, severity="warning", message=said, column=column)
