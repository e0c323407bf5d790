"""Step `perform_exploratory_analysis`: types, missing values, distributions, outliers, correlations, times, texts, groups."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

from schemas.analysis import Finding
from workers.analysis.compute.columns import profile_column
from workers.analysis.compute.features import Features, features_of, sample_rows
from workers.analysis.compute.headlines import grouping, headlines, summary
from workers.analysis.compute.profile import ColumnProfile, Correlations, Pair, Profile, Trial
from workers.analysis.compute.wording import share
from workers.analysis.files import DATASET, EXPLORATION

_CORRELATED_ROWS = 100_000
_CORRELATED_COLUMNS = 40
_STRONG = 0.3
_MOST_PAIRS = 15
_TRIED_ROWS = 2000
_TRIED = range(2, 11)
_MANY_OUTLIERS = 0.05


def run(folder: Path, given: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001 - every step has it
    profile = explore(pd.read_parquet(folder / DATASET))
    (folder / EXPLORATION).write_text(profile.model_dump_json(), encoding="utf-8")
    return {
        "summary": summary(profile),
        "suggested_clusters": profile.suggested_clusters,
        "findings": [finding.model_dump() for finding in _findings(profile)],
    }


def explore(frame: pd.DataFrame) -> Profile:
    columns = [profile_column(str(name), frame[name]) for name in frame.columns]
    trials = _trials(features_of(frame))
    best = max(trials, key=lambda trial: (trial.silhouette, -trial.clusters), default=None)
    found = Profile(
        rows=len(frame),
        missing=sum(column.missing for column in columns),
        incomplete_rows=int(frame.isna().any(axis=1).sum()),
        columns=columns,
        correlations=_correlations(frame, columns),
        trials=trials,
        suggested_clusters=best.clusters if best else None,
    )
    return found.model_copy(update={"headlines": headlines(found), "grouping": grouping(found)})


def _correlations(frame: pd.DataFrame, columns: list[ColumnProfile]) -> Correlations | None:
    names = [column.name for column in columns if column.kind == "number"][:_CORRELATED_COLUMNS]
    if len(names) < 2 or len(frame) < 3:  # noqa: PLR2004 - two points are always on a line
        return None
    sample = frame[names].iloc[sample_rows(len(frame), _CORRELATED_ROWS)]
    matrix = (sample / sample.abs().max().replace(0, 1)).corr().to_numpy()
    pairs = [
        Pair(one=names[i], other=names[j], r=float(matrix[i, j]))
        for i in range(len(names))
        for j in range(i)
        if np.isfinite(matrix[i, j]) and abs(matrix[i, j]) >= _STRONG
    ]
    return Correlations(
        columns=names,
        matrix=[[round(float(r), 6) if np.isfinite(r) else None for r in row] for row in matrix],
        strongest=sorted(pairs, key=lambda pair: (-abs(pair.r), pair.one, pair.other))[:_MOST_PAIRS],
        rows=len(sample),
    )


def _trials(features: Features | None) -> list[Trial]:
    """The silhouette of each number of groups: 1 for groups far apart, 0 for none (Rousseeuw 1987)."""
    if features is None:
        return []
    points = features.matrix[sample_rows(len(features.matrix), _TRIED_ROWS)]
    distinct = len(np.unique(points, axis=0))
    trials = []
    for clusters in _TRIED:
        if clusters >= min(distinct, len(points)):
            break
        labels = KMeans(clusters, n_init=4, random_state=0).fit_predict(points)
        if len(np.unique(labels)) == clusters:
            trials.append(Trial(clusters=clusters, silhouette=float(silhouette_score(points, labels))))
    return trials


def _findings(profile: Profile) -> Iterator[Finding]:
    for column in profile.columns:
        present = profile.rows - column.missing
        if column.numbers and column.numbers.outliers > _MANY_OUTLIERS * present:
            said = f"{share(column.numbers.outliers, present)} of the values lie far from the others: a mean says little, use the median."
            yield Finding(code="outliers", severity="info", message=said, column=column.name)
        if column.times and column.times.without > 0:
            said = f"{column.times.without:,} of {len(column.times.counts):,} {column.times.period}s between first and last have no row."
            yield Finding(code="time_gaps", severity="info", message=said, column=column.name)
