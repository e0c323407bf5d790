"""Parquet."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.analysis import Finding
from schemas.errors import FailureType
from workers.analysis.compute.limits import Limits
from workers.analysis.compute.refusal import Refused

_MAGIC = b"PAR1"


def read(path: Path, limits: Limits) -> tuple[pd.DataFrame, list[Finding]]:
    """Raises `Refused`; rows and columns are counted by the footer before anything is unpacked."""
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            size = path.stat().st_size
            code = FailureType.DATASET_UNREADABLE if size else FailureType.DATASET_EMPTY
            raise Refused(code, "the file is not Parquet: check file_type" if size else "the file is empty")
    try:
        with pq.ParquetFile(path) as file:
            limits.hold(rows=file.metadata.num_rows, columns=file.metadata.num_columns)
            table = file.read()
        names = table.column_names
        table = table.rename_columns([str(number) for number in range(table.num_columns)])
        # Types that would become Python objects one by one become text or numbers here.
        table = pa.table({str(number): _plain(column) for number, column in enumerate(table.columns)})
        frame = table.to_pandas(split_blocks=True, self_destruct=True, ignore_metadata=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise Refused(
            FailureType.DATASET_UNREADABLE, f"the Parquet file is damaged or of an unknown kind ({type(error).__name__})"
        ) from error
    frame.columns = pd.Index(names)
    return frame, []


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _plain(column.cast(kind.value_type))
    if pa.types.is_decimal(kind):
        return column.cast(pa.float64())
    return column
