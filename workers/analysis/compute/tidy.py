"""Columns of one type each: numbers, booleans, times, text."""

from __future__ import annotations

import datetime as dt
import json
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from schemas.analysis import Finding

_MOSTLY = 0.9
"""A column of which so much is numbers is one of numbers; what is not counts as missing, and is told."""
_HARDLY = 0.1
_DATE_SAMPLE = 500
_DATE_SHARE = 0.98
_SHORTEST_DATE, _LONGEST_DATE = 6, 35
_DAY_FIRST = ("%d/%m/%Y", "%d-%m-%Y", "%d/%m/%Y %H:%M", "%d/%m/%Y %H:%M:%S")
_MONTH_FIRST = ("%m/%d/%Y", "%m-%d-%Y", "%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S")
_CLEAR = (
    "ISO8601",
    "%d.%m.%Y",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y %H:%M:%S",
    "%Y/%m/%d",
    "%Y/%m/%d %H:%M:%S",
    "%d %b %Y",
    "%b %d, %Y",
    "%d-%b-%Y",
)


def tidy(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[Finding]]:
    """The same rows and names. What changed a value is in the findings."""
    findings: list[Finding] = []
    columns: dict[str, pd.Series[Any]] = {}
    for name in list(frame.columns):
        columns[str(name)] = _column(str(name), frame.pop(name), findings)
    return pd.DataFrame(columns), findings


def _column(name: str, column: pd.Series[Any], findings: list[Finding]) -> pd.Series[Any]:
    kind = column.dtype
    if pd.api.types.is_bool_dtype(kind) or pd.api.types.is_datetime64_any_dtype(kind):
        return _naive(column)
    if pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_complex_dtype(kind):
        return _finite(name, _plain_numbers(column), findings)
    if pd.api.types.is_timedelta64_dtype(kind):
        return pd.Series(column.dt.total_seconds())
    values = column.map(_simple, na_action="ignore") if column.dtype == object else column
    present = values.dropna()
    if present.empty:
        return pd.Series(np.nan, index=column.index, dtype="float64")
    if column.dtype == object and present.map(lambda value: isinstance(value, bool)).all():
        return values.astype("boolean") if len(present) < len(values) else values.astype(bool)
    return _from_text(name, values, present, findings)


def _from_text(name: str, values: pd.Series[Any], present: pd.Series[Any], findings: list[Finding]) -> pd.Series[Any]:
    share = _share_of_numbers(present)
    if share >= _MOSTLY:
        if share < 1:
            odd = int(pd.to_numeric(present, errors="coerce").isna().sum())
            said = f"{odd:,} of {len(present):,} values are not numbers, as the others are; they count as missing."
            findings.append(Finding(code="mixed_types", severity="warning", message=said, column=name))
        return _finite(name, pd.to_numeric(values, errors="coerce"), findings)
    if values.dtype == object and present.map(lambda value: isinstance(value, dt.datetime | dt.date)).all():
        return _naive(pd.to_datetime(values, errors="coerce", utc=True))
    times = _times(name, values, present, findings)
    if times is not None:
        return times
    if share > _HARDLY:
        said = f"{share:.0%} of the values are numbers, the others are not; the column is treated as text."
        findings.append(Finding(code="mixed_types", severity="warning", message=said, column=name))
    return values.map(str, na_action="ignore").astype("str") if values.dtype == object else values


def _share_of_numbers(present: pd.Series[Any]) -> float:
    """A look at some first: a million texts that are none take a while."""
    few = present.iloc[:: max(1, len(present) // _DATE_SAMPLE)]
    if not pd.to_numeric(few, errors="coerce").notna().any():
        return 0.0
    return float(pd.to_numeric(present, errors="coerce").notna().mean())


def _times(name: str, values: pd.Series[Any], present: pd.Series[Any], findings: list[Finding]) -> pd.Series[Any] | None:
    """None for a column that is not one of times. The format is found on a sample, and must then fit the column."""
    sample = present.iloc[:: max(1, len(present) // _DATE_SAMPLE)].astype(str)
    lengths = sample.str.len()
    if lengths.min() < _SHORTEST_DATE or lengths.max() > _LONGEST_DATE or not sample.str.contains(r"\d").all():
        return None
    fitting = [form for form in (*_CLEAR, *_DAY_FIRST, *_MONTH_FIRST) if _parsed(sample, form).notna().mean() >= _DATE_SHARE]
    if not fitting:
        return None
    times = _parsed(values.astype("str"), fitting[0])
    lost = int(times.isna().sum() - values.isna().sum())
    if lost > (1 - _DATE_SHARE) * len(present):
        # Day and month look alike in a sample of the first twelve days only.
        times = _parsed(values.astype("str"), fitting[-1])
        lost = int(times.isna().sum() - values.isna().sum())
        if lost > (1 - _DATE_SHARE) * len(present):
            return None
    elif fitting[0] in _DAY_FIRST and any(form in _MONTH_FIRST for form in fitting):
        said = "The dates can be read with the day first or the month first; they were read with the day first."
        findings.append(Finding(code="ambiguous_dates", severity="warning", message=said, column=name))
    if lost:
        said = f"{lost:,} values are not times, as the others are; they count as missing."
        findings.append(Finding(code="mixed_types", severity="warning", message=said, column=name))
    return _naive(times)


def _parsed(values: pd.Series[Any], form: str) -> pd.Series[Any]:
    return pd.to_datetime(values, format=form, errors="coerce", utc=True)


def _naive(column: pd.Series[Any]) -> pd.Series[Any]:
    """Times in UTC, without saying so in each."""
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    return column


def _plain_numbers(column: pd.Series[Any]) -> pd.Series[Any]:
    if isinstance(column.dtype, np.dtype):
        return column
    return column.astype("float64") if column.isna().any() or not pd.api.types.is_integer_dtype(column.dtype) else column.astype("int64")


def _finite(name: str, column: pd.Series[Any], findings: list[Finding]) -> pd.Series[Any]:
    if column.dtype == object:  # integers beyond 64 bits
        column = column.astype("float64")
    if not pd.api.types.is_float_dtype(column.dtype):
        return column
    infinite = np.isinf(column.to_numpy(dtype="float64", na_value=np.nan))
    if not infinite.any():
        return column
    said = f"{int(infinite.sum()):,} values are infinite; they count as missing."
    findings.append(Finding(code="infinite_values", severity="warning", message=said, column=name))
    return column.mask(pd.Series(infinite, index=column.index))


def _simple(value: Any) -> Any:
    """What a cell holds, in one of the few types that the rest knows."""
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) < 2**63 else float(value) if abs(value) < 10**300 else None
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, dict | list | tuple | set):
        value = json.dumps(value, default=str, ensure_ascii=False)
    # A lone surrogate is legal in JSON and in no encoding.
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
