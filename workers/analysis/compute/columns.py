"""The profile of one column."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from workers.analysis.compute.kinds import kind_of
from workers.analysis.compute.profile import ColumnProfile, Level, Levels, Numbers, Times, Words

_MOST_SHOWN = 10
_FENCE, _FAR_FENCE = 1.5, 3.0
_FEWEST_BINS, _MOST_BINS, _MOST_STEPS = 8, 40, 25
_WORDS_FROM = 20_000
_VALUE_CHARS = 40
_MOST_PERIODS = 60
_PERIODS = {"hour": "h", "day": "D", "week": "W", "month": "M", "quarter": "Q", "year": "Y"}
# Of English, German and French: what is left says what the texts are about.
_STOP_WORDS = frozenset({
    "about", "after", "all", "also", "and", "any", "are", "but", "can", "did", "for", "from", "had", "has", "have", "her", "his", "how",
    "into", "its", "just", "more", "not", "only", "our", "out", "over", "some", "such", "than", "that", "the", "their",
    "them", "then", "there",
    "they", "this", "very", "was", "were", "what", "when", "which", "while", "who", "will", "with", "would", "you", "your",
    "auf", "das", "dem", "den", "der", "die", "ein", "eine", "ist", "mit", "und", "von",
    "dans", "des", "est", "les", "par", "pas", "pour", "que", "sur", "une",
})  # fmt: skip


def profile_column(name: str, column: pd.Series[Any]) -> ColumnProfile:
    kind = kind_of(column)
    present = column.dropna()
    return ColumnProfile(
        name=name,
        kind=kind,
        dtype=str(column.dtype),
        missing=len(column) - len(present),
        numbers=_numbers(present) if kind == "number" else None,
        levels=_levels(present) if kind in ("boolean", "category", "constant") else None,
        times=_times(present) if kind == "time" else None,
        words=_words(present) if kind == "text" else None,
    )


def _numbers(present: pd.Series[Any]) -> Numbers:
    values = present.to_numpy(dtype="float64")
    minimum, q1, median, q3, maximum = (float(value) for value in np.percentile(values, [0, 25, 50, 75, 100]))
    spread = q3 - q1
    outliers = int(((values < q1 - _FENCE * spread) | (values > q3 + _FENCE * spread)).sum())
    low, high = (max(minimum, q1 - _FAR_FENCE * spread), min(maximum, q3 + _FAR_FENCE * spread)) if spread > 0 else (minimum, maximum)
    edges = _edges(values, low, high, spread)
    counts, _ = np.histogram(values, bins=edges)
    scale = float(np.abs(values).max()) or 1.0  # squares of numbers beyond 1e154 are infinite
    mean, std = float((values / scale).mean()), float((values / scale).std())
    return Numbers(
        mean=mean * scale,
        std=std * scale,
        minimum=minimum,
        q1=q1,
        median=median,
        q3=q3,
        maximum=maximum,
        skew=float((((values / scale - mean) / std) ** 3).mean()) if std > 0 else 0.0,
        outliers=outliers,
        edges=[float(edge) for edge in edges],
        counts=[int(counted) for counted in counts],
        left_out=len(values) - int(counts.sum()),
    )


def _edges(values: np.ndarray[Any, Any], low: float, high: float, spread: float) -> np.ndarray[Any, Any]:
    """A bin for each of few whole numbers; else by Freedman and Diaconis (1981): a width of 2 IQR / n^(1/3)."""
    steps = round(high - low)
    if 0 < steps <= _MOST_STEPS and (values == np.floor(values)).all():
        return np.arange(round(low) - 0.5, round(high) + 1.5)
    width = 2 * spread / len(values) ** (1 / 3)
    bins = int(np.clip((high - low) / width, _FEWEST_BINS, _MOST_BINS)) if width > 0 else _FEWEST_BINS * 2
    edges = np.linspace(low, high, bins + 1)
    # Values next to each other at the end of a float's precision have no room for so many bins.
    return edges if (np.diff(edges) > 0).all() else np.array([low, np.nextafter(high, np.inf)])


def _levels(present: pd.Series[Any]) -> Levels:
    counted = present.astype(str).value_counts()
    # Ties in the order of their names: the same data set gives the same report.
    ordered = sorted(counted.items(), key=lambda item: (-int(item[1]), str(item[0])))
    return Levels(distinct=len(counted), most=[Level(value=_shown(value), count=int(amount)) for value, amount in ordered[:_MOST_SHOWN]])


def _times(present: pd.Series[Any]) -> Times:
    first, last = present.min(), present.max()
    for period, frequency in _PERIODS.items():
        span = pd.period_range(first, last, freq=frequency) if _fits(first, last, period) else None
        if (span is not None and len(span) <= _MOST_PERIODS) or period == "year":
            break
    counted = present.dt.to_period(frequency).value_counts().sort_index()
    if span is not None and len(span) <= 10 * _MOST_PERIODS:
        counted = counted.reindex(span, fill_value=0)
    form = "%Y-%m-%d %H:%M" if period == "hour" else "%Y-%m-%d"
    return Times(
        first=str(first)[:19],
        last=str(last)[:19],
        period=period,
        starts=[start.start_time.strftime(form) for start in counted.index],
        counts=[int(amount) for amount in counted],
        without=int((counted == 0).sum()),
    )


def _fits(first: pd.Timestamp, last: pd.Timestamp, period: str) -> bool:
    """Whether it is worth counting the periods: from 1600 to 2200 there are five million hours."""
    seconds = (last - first).total_seconds()
    return seconds / {"hour": 3600, "day": 86_400, "week": 604_800}.get(period, 2_500_000) <= 10 * _MOST_PERIODS


def _words(present: pd.Series[Any]) -> Words:
    texts = present.astype(str)
    lengths = texts.str.len()
    sample = texts.iloc[:: max(1, len(texts) // _WORDS_FROM)]
    found = Counter(word for words in sample.str.lower().str.findall(r"[^\W\d_]{3,30}") for word in words if word not in _STOP_WORDS)
    most = sorted(found.items(), key=lambda item: (-item[1], item[0]))[:_MOST_SHOWN]
    return Words(
        mean_length=float(lengths.mean()),
        max_length=int(lengths.max()),
        distinct=int(texts.nunique()),
        most=[Level(value=word, count=amount) for word, amount in most],
    )


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= _VALUE_CHARS else text[: _VALUE_CHARS - 1] + "…"
