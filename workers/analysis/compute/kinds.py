"""What a column holds, beyond its type."""

from __future__ import annotations

from typing import Any, Literal

import pandas as pd

Kind = Literal["number", "boolean", "time", "category", "text", "identifier", "constant", "empty"]

MOST_LEVELS = 50
_FEW_ROWS = 20
_LEVEL_SHARE = 0.5
_TOKEN_SHARE = 0.95
_SAMPLE = 2000


def kind_of(column: pd.Series[Any]) -> Kind:  # noqa: PLR0911 - one for each kind
    """An identifier has a value of its own in each row, and is no measure: it is neither drawn nor clustered."""
    present = column.dropna()
    if present.empty:
        return "empty"
    if pd.api.types.is_bool_dtype(column.dtype):
        return "boolean" if present.nunique() > 1 else "constant"
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return "time" if present.nunique() > 1 else "constant"
    if (present == present.iloc[0]).all():
        return "constant"
    if pd.api.types.is_numeric_dtype(column.dtype):
        whole = pd.api.types.is_integer_dtype(column.dtype)
        counts_up = whole and len(present) > _FEW_ROWS and present.is_unique and _is_dense(present)
        return "identifier" if counts_up else "number"
    levels = present.nunique()
    if levels <= MOST_LEVELS and levels <= max(_LEVEL_SHARE * len(present), 2):
        return "category"
    tokens = present.iloc[:_SAMPLE].str.fullmatch(r"\S{1,64}").mean()
    if len(present) > _FEW_ROWS and levels == len(present) and tokens >= _TOKEN_SHARE:
        return "identifier"
    return "text"


def _is_dense(present: pd.Series[Any]) -> bool:
    """Numbers that leave few gaps, as those that were given one after the other do: 1000 to 4999 and not incomes."""
    return bool(int(present.max()) - int(present.min()) < 2 * len(present))
