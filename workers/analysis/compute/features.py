"""Rows as points: what tells them apart, on scales that can be compared."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from workers.analysis.compute.kinds import kind_of

FEWEST_ROWS = 10
_MOST_LEVELS = 12
_MOST_MISSING = 0.4
_FAR = 5.0

Matrix = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True, slots=True)
class Features:
    matrix: Matrix
    numbers: list[str]
    categories: list[str]


def features_of(frame: pd.DataFrame) -> Features | None:
    """None where there is nothing to tell rows apart by: too few rows, or neither numbers nor categories.

    Numbers have mean 0 and standard deviation 1, and end at 5 of them so that one typing error makes no group of its own; a missing one
    is the median. A category is one column for each level, so weighted that two levels are as far apart as one standard deviation. Columns
    that are missing in four of ten rows say little about the others, and are left out, as are identifiers, times and texts.
    """
    if len(frame) < FEWEST_ROWS:
        return None
    parts: list[Matrix] = []
    numbers: list[str] = []
    categories: list[str] = []
    for name in map(str, frame.columns):
        column = frame[name]
        if column.isna().mean() > _MOST_MISSING:
            continue
        kind = kind_of(column)
        if kind == "number":
            parts.append(_scaled(column)[:, np.newaxis])
            numbers.append(name)
        elif kind in ("boolean", "category") and column.nunique() <= _MOST_LEVELS:
            parts.append(_one_hot(column))
            categories.append(name)
    if not parts:
        return None
    return Features(np.concatenate(parts, axis=1), numbers, categories)


def _scaled(column: pd.Series[Any]) -> Matrix:
    values = column.to_numpy(dtype="float64", na_value=np.nan)
    values = np.where(np.isnan(values), np.nanmedian(values), values)
    values = values / (np.abs(values).max() or 1.0)  # squares of numbers beyond 1e154 are infinite
    # The middle 98 % set the scale: the mean and deviation of all would be the outliers' own.
    low, high = np.percentile(values, [1, 99])
    core = np.clip(values, low, high)
    std = core.std() or values.std() or 1.0
    scaled: Matrix = np.clip((values - core.mean()) / std, -_FAR, _FAR).astype(np.float32)
    return scaled


def _one_hot(column: pd.Series[Any]) -> Matrix:
    levels = sorted(column.dropna().astype(str).unique())
    text = column.astype(str).to_numpy()
    return np.stack([(text == level) / math.sqrt(2) for level in levels], axis=1).astype(np.float32)


def sample_rows(rows: int, most: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Positions of up to so many rows, in order; the same ones in every run."""
    if rows <= most:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
