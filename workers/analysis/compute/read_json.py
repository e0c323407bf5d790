"""JSON and JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from schemas.analysis import Finding
from schemas.errors import FailureType
from workers.analysis.compute.limits import Limits
from workers.analysis.compute.refusal import Refused
from workers.analysis.compute.text import detect_encoding, refuse_other

_PIECE = 20_000
_WANTED = "an array of objects, an object of arrays, or an object with one array of objects in it"


def read(path: Path, limits: Limits) -> tuple[pd.DataFrame, list[Finding]]:
    """Raises `Refused`."""
    refuse_other(path, "json")
    try:
        found = json.loads(path.read_text(encoding=detect_encoding(path).name))
    except (ValueError, RecursionError) as error:
        where = f" in line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        said = f"the file is not JSON{where}: if each line is an object of its own, file_type is jsonl"
        raise Refused(FailureType.DATASET_UNREADABLE, said) from error
    if isinstance(found, dict) and _is_columns(found):
        return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in found.items()}), []
    if isinstance(found, dict):
        records = [value for value in found.values() if isinstance(value, list) and _is_records(value)]
        found = records[0] if len(records) == 1 else None
    if not isinstance(found, list) or not (found == [] or _is_records(found)):
        raise Refused(FailureType.DATASET_UNREADABLE, f"the JSON is not a table: send {_WANTED}")
    limits.hold(rows=len(found))
    return _frame(iter(found), limits), []


def read_lines(path: Path, limits: Limits) -> tuple[pd.DataFrame, list[Finding]]:
    """Raises `Refused` that names the line."""
    refuse_other(path, "jsonl")
    return _frame(_records(path, limits), limits), []


def _is_records(values: list[Any]) -> bool:
    return bool(values) and all(isinstance(value, dict) for value in values)


def _is_columns(found: dict[str, Any]) -> bool:
    """`{"a": [1, 2], "b": [3, 4]}`."""
    lists = [value for value in found.values() if isinstance(value, list)]
    return bool(lists) and len(lists) == len(found) and len({len(value) for value in lists}) == 1 and not _is_records(lists[0])


def _records(path: Path, limits: Limits) -> Iterator[dict[str, Any]]:
    count = 0
    try:
        with path.open(encoding=detect_encoding(path).name) as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    record = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise Refused(FailureType.DATASET_UNREADABLE, f"line {number} is not JSON: each line must be one object") from error
                if not isinstance(record, dict):
                    raise Refused(FailureType.DATASET_UNREADABLE, f"line {number} is not an object: each line must be one")
                count += 1
                limits.hold(rows=count)
                yield record
    except UnicodeError as error:
        raise Refused(FailureType.DATASET_UNREADABLE, "the file's encoding changes within it: write it as UTF-8") from error


def _frame(records: Iterator[dict[str, Any]], limits: Limits) -> pd.DataFrame:
    """In pieces: a dict for each row costs many times what a column's values do."""
    pieces = []
    while piece := list(islice(records, _PIECE)):
        flat = [_flat(record) for record in piece]
        names = dict.fromkeys(name for record in flat for name in record)
        limits.hold(columns=len(names))
        pieces.append(pd.DataFrame({name: pd.Series([record.get(name) for record in flat]).infer_objects() for name in names}))
    if not pieces:
        return pd.DataFrame()
    return pd.concat(pieces, ignore_index=True) if len(pieces) > 1 else pieces[0]


def _flat(record: dict[str, Any], prefix: str = "", depth: int = 0) -> dict[str, Any]:
    """`{"a": {"b": 1}}` -> `{"a.b": 1}`, three levels deep; what lies deeper, and arrays, stay JSON text."""
    flat: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, dict) and value and depth < 3:  # noqa: PLR2004
            flat.update(_flat(value, f"{prefix}{name}.", depth + 1))
        else:
            flat[f"{prefix}{name}"] = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
    return flat
