"""Step `apply_clustering`: k-means, or HDBSCAN where k-means would cut through what is dense."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score
from sklearn.metrics.cluster import contingency_matrix
from sklearn.neighbors import KNeighborsClassifier

from schemas.analysis import Finding
from schemas.errors import FailureType
from workers.analysis.compute.features import Features, Matrix, features_of, sample_rows
from workers.analysis.compute.groups import profiles
from workers.analysis.compute.profile import Groups
from workers.analysis.compute.refusal import Refused
from workers.analysis.compute.wording import quality, share
from workers.analysis.files import CLUSTERING, DATASET, LABELS

_SEED = 0
_FITTED_ROWS = 100_000
_DENSE_ROWS = 5000
_JUDGED_ROWS = 5000
_SHOWN_ROWS = 3000
_COMPONENTS = 10
_CLEAR = 0.6
_NOISE = 0.05
_MOST_DENSE = 20
_UNCUT = 0.95
_WEAK = 0.25

Labels = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class Clustered:
    method: str
    labels: Labels
    """0 is the largest group; -1 is none."""
    silhouette: float


def run(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    frame = pd.read_parquet(folder / DATASET)
    groups, labels = describe(frame, given["n_clusters"])
    (folder / CLUSTERING).write_text(groups.model_dump_json(), encoding="utf-8")
    pd.DataFrame({"row": np.arange(1, len(labels) + 1), "group": np.where(labels < 0, 0, labels + 1)}).to_parquet(
        folder / LABELS, index=False
    )
    said = f"{groups.clusters} groups that are {quality(groups.silhouette)} (silhouette {groups.silhouette:.2f}), found by {groups.method}."
    findings = []
    if groups.silhouette < _WEAK:
        weak = "The groups are hardly apart: take them as a way to cut the data up, not as something that is in it."
        findings.append(Finding(code="no_clear_groups", severity="warning", message=weak))
    if groups.noise:
        alone = f"{groups.noise:,} rows ({share(groups.noise, len(frame))}) belong to no group."
        findings.append(Finding(code="rows_without_group", severity="info", message=alone))
    return {
        "clusters": groups.clusters,
        "method": groups.method,
        "summary": said,
        "findings": [finding.model_dump() for finding in findings],
    }


def describe(frame: pd.DataFrame, clusters: int) -> tuple[Groups, Labels]:
    """Raises `Refused(NOTHING_TO_CLUSTER)`."""
    features = features_of(frame)
    if features is None or len(np.unique(features.matrix[:_JUDGED_ROWS], axis=0)) < 3:  # noqa: PLR2004
        said = "there is nothing to cluster by: it takes ten rows, and columns of numbers or of at most twelve categories that differ"
        raise Refused(FailureType.NOTHING_TO_CLUSTER, said)
    found = clustered(features, clusters)
    shown = sample_rows(len(frame), _SHOWN_ROWS)
    plane = PCA(min(2, features.matrix.shape[1]), random_state=_SEED).fit(features.matrix[sample_rows(len(frame), _FITTED_ROWS)])
    places = plane.transform(features.matrix[shown])
    if places.shape[1] == 1:
        places = np.hstack([places, np.zeros_like(places)])
    variance = [*plane.explained_variance_ratio_, 0.0]
    groups = Groups(
        method=found.method,
        silhouette=found.silhouette,
        clusters=int(found.labels.max()) + 1,
        noise=int((found.labels < 0).sum()),
        numbers=features.numbers,
        categories=features.categories,
        profiles=profiles(frame, features, found.labels),
        points=[(round(float(x), 3), round(float(y), 3), int(label)) for (x, y), label in zip(places, found.labels[shown], strict=True)],
        explained=(float(variance[0]), float(variance[1])),
    )
    return groups, found.labels


def clustered(features: Features, clusters: int) -> Clustered:
    """The same for the same features, whatever machine or attempt."""
    points = features.matrix
    fitted = points[sample_rows(len(points), _FITTED_ROWS)]
    clusters = min(clusters, len(np.unique(fitted, axis=0)) - 1)
    means = KMeans(clusters, n_init=10, random_state=_SEED).fit(fitted)
    labels = _by_size(means.predict(points).astype(np.int64))
    silhouette = _silhouette(points, labels)
    # Beside categories rows lie on a lattice: how dense it is there says nothing.
    dense = _dense(points, labels) if silhouette < _CLEAR and not features.categories else None
    if dense is not None:
        return Clustered("HDBSCAN", dense, _silhouette(points, dense))
    return Clustered("k-means", labels, silhouette)


def _dense(points: Matrix, other: Labels) -> Labels | None:
    """Groups by density, where nearly every row is in one and k-means cuts through them; else None.

    Rings and crescents are such: k-means knows only round groups. Groups of which each lies within one of k-means' are no reason.
    """
    chosen = sample_rows(len(points), _DENSE_ROWS)
    sample = points[chosen]
    if sample.shape[1] > _COMPONENTS:
        sample = PCA(_COMPONENTS, random_state=_SEED).fit_transform(sample)
    found = HDBSCAN(min_cluster_size=max(10, len(sample) // 50), min_samples=5, copy=True).fit_predict(sample).astype(np.int64)
    groups, noise = found.max() + 1, (found < 0).mean()
    if not (1 < groups <= _MOST_DENSE and noise <= _NOISE) or _within(found, other[chosen]) >= _UNCUT:
        return None
    if len(chosen) == len(points):
        return _by_size(found)
    nearest = KNeighborsClassifier(3).fit(points[chosen], found)
    return _by_size(nearest.predict(points).astype(np.int64))


def _within(groups: Labels, other: Labels) -> float:
    """The share of the rows that are where most of their group is."""
    return float(contingency_matrix(groups, other).max(axis=1).sum() / len(groups))


def _by_size(labels: Labels) -> Labels:
    """Numbered from the largest group on: what a fit calls its groups is chance."""
    names, first, sizes = np.unique(labels[labels >= 0], return_index=True, return_counts=True)
    order = np.lexsort((first, -sizes))
    renamed = np.full_like(labels, -1)
    for number, place in enumerate(order):
        renamed[labels == names[place]] = number
    return renamed


def _silhouette(points: Matrix, labels: Labels) -> float:
    judged = sample_rows(len(points), _JUDGED_ROWS)
    judged = judged[labels[judged] >= 0]
    if not 1 < len(np.unique(labels[judged])) < len(judged):
        return 0.0
    return float(silhouette_score(points[judged], labels[judged]))
