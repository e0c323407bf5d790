"""History rows as Parquet and back."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
from pyarrow import parquet

_TEXT, _LONG, _MOMENT = pa.string(), pa.int64(), pa.timestamp("us", tz="UTC")

SCHEMA = pa.schema(
    [
        pa.field("history_id", _TEXT, nullable=False),
        pa.field("event_id", _TEXT, nullable=False),
        pa.field("user_id", _TEXT, nullable=False),
        pa.field("domain", _TEXT, nullable=False),
        pa.field("workflow_id", _TEXT, nullable=False),
        pa.field("run_id", _TEXT, nullable=False),
        pa.field("status", _TEXT, nullable=False),
        pa.field("prompt", _TEXT, nullable=False),
        pa.field("key", _TEXT),
        pa.field("url", _TEXT),
        pa.field("size_bytes", _LONG),
        pa.field("sha256", _TEXT),
        pa.field("error_code", _TEXT),
        pa.field("error_message", _TEXT),
        pa.field("recorded_at", _MOMENT, nullable=False),
        pa.field("published_topic", _TEXT),
        pa.field("published_partition", _LONG),
        pa.field("published_offset", _LONG),
        pa.field("backend", _TEXT),
        pa.field("requested_at", _MOMENT),
        pa.field("started_at", _MOMENT),
    ]
)
"""The columns of the table `history` but `archive_key`; columns are only ever added, at the end."""

Row = dict[str, Any]
"""By column; UUIDs as text, moments in UTC."""


class NoArchiveError(Exception):
    """The bytes are not an archive of history."""


def written(rows: list[Row]) -> bytes:
    """Raises `pyarrow.ArrowInvalid` for rows that do not fit the schema."""
    target = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), target, compression="zstd")
    return target.getvalue()


def read(data: bytes) -> list[Row]:
    """Columns that an older file lacks are None. Raises `NoArchiveError`."""
    try:
        # Read as a plain file: a path would be searched for partitions.
        table = parquet.ParquetFile(io.BytesIO(data)).read()
        rows: list[Row] = table.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise NoArchiveError(str(error)) from error
    if not {"history_id", "recorded_at"} <= set(table.column_names):
        raise NoArchiveError("it has no columns history_id and recorded_at")
    return [{name: row.get(name) for name in SCHEMA.names} for row in rows]
