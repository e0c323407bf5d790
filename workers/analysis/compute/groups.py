"""What is typical of each group."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from workers.analysis.compute.features import Features
from workers.analysis.compute.profile import ClusterProfile, Level
from workers.analysis.compute.wording import listed, number

_TELLING = 0.5
_MOST_TRAITS = 3
_OVER = 1.3
_VALUE_CHARS = 40


def profiles(frame: pd.DataFrame, features: Features, labels: np.ndarray[Any, np.dtype[np.int64]]) -> list[ClusterProfile]:
    """One for each group, the largest first; rows without a group are in none."""
    numbers = frame[features.numbers].astype("float64")
    mean, std = numbers.mean(), numbers.std(ddof=0).replace(0, 1)
    made = []
    for label in range(int(labels.max()) + 1):
        inside = labels == label
        means = numbers[inside].mean()
        deviations = ((means - mean) / std).fillna(0)
        typical = [_typical(frame[name], inside) for name in features.categories]
        made.append(
            ClusterProfile(
                number=label + 1,
                rows=int(inside.sum()),
                means=[float(value) for value in means.fillna(0)],
                deviations=[float(value) for value in deviations],
                typical=[level for level, _ in typical],
                words=_words(features, means, deviations, typical),
            )
        )
    return made


def _typical(column: pd.Series[Any], inside: np.ndarray[Any, Any]) -> tuple[Level, float]:
    """The most frequent level in the group with its percentage, and how many times that of all rows this is."""
    text = column.astype("str")
    counted = text[inside].value_counts()
    if counted.empty:
        return Level(value="\N{EN DASH}", count=0), 1.0
    level = min(str(name) for name in counted[counted == counted.iloc[0]].index)
    part, overall = counted.iloc[0] / inside.sum(), (text == level).mean()
    shown = level if len(level) <= _VALUE_CHARS else level[: _VALUE_CHARS - 1] + "…"
    return Level(value=shown, count=round(100 * part)), float(part / overall)


def _words(features: Features, means: pd.Series[Any], deviations: pd.Series[Any], typical: list[tuple[Level, float]]) -> str:
    order = np.argsort(-np.abs(deviations.to_numpy()), kind="stable")
    traits = [
        f"{'high' if deviations.iloc[place] > 0 else 'low'} {features.numbers[place]} ({number(float(means.iloc[place]))} on average)"
        for place in order[:_MOST_TRAITS]
        if abs(deviations.iloc[place]) >= _TELLING
    ]
    traits += [
        f"{name} is {level.value!r} in {level.count} %"
        for name, (level, over) in zip(features.categories, typical, strict=True)
        if over >= _OVER and level.count >= 50  # noqa: PLR2004 - half of the group
    ][: _MOST_TRAITS - len(traits)]
    return listed(traits, _MOST_TRAITS) if traits else "near the average in every column"
