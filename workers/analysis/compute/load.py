"""Step `load_dataset`: any of the file types becomes one Parquet file with columns of one type each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from schemas.analysis import Finding
from schemas.errors import FailureType
from workers.analysis.compute import read_csv, read_json, read_parquet, read_xlsx
from workers.analysis.compute.limits import Limits
from workers.analysis.compute.refusal import Refused
from workers.analysis.compute.text import unique_names
from workers.analysis.compute.tidy import tidy
from workers.analysis.files import DATASET, SOURCE

Read = tuple[pd.DataFrame, list[Finding]]

_READERS: dict[str, Callable[[Path, Limits], Read]] = {
    "csv": read_csv.read,
    "json": read_json.read,
    "jsonl": read_json.read_lines,
    "parquet": read_parquet.read,
    "xlsx": read_xlsx.read,
}


def run(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Rows, columns and what reading has shown."""
    limits = Limits(max_rows=given["max_rows"], max_bytes=given["max_bytes"])
    try:
        frame, findings = _READERS[given["file_type"]](folder / SOURCE, limits)
    except MemoryError as error:
        raise Refused(FailureType.DATASET_TOO_LARGE, "the data set does not fit into memory: send fewer rows or columns") from error
    limits.hold(rows=len(frame), columns=len(frame.columns))
    names, repeated = unique_names(frame.columns)
    frame.columns = pd.Index(names)
    if repeated:
        findings.append(_repeated(repeated))
    frame, more = tidy(frame)
    frame.to_parquet(folder / DATASET, engine="pyarrow", compression="snappy", index=False)
    return {
        "rows": len(frame),
        "columns": [{"name": str(name), "dtype": str(dtype)} for name, dtype in frame.dtypes.items()],
        "findings": [finding.model_dump() for finding in [*findings, *more]],
    }


def _repeated(names: list[str]) -> Finding:
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")  # noqa: PLR2004 - enough to find them by
    said = (
        f"{len(names)} column {'name is' if len(names) == 1 else 'names are'} there more than once ({shown}): the later ones have a number."
    )
    return Finding(code="duplicate_names", severity="warning", message=said)
