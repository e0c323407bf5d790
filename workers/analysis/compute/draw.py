"""Step `generate_visualizations`: pictures of what was found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from workers.analysis.compute import charts, cluster_charts, style
from workers.analysis.compute.profile import Groups, Profile
from workers.analysis.files import CLUSTERING, EXPLORATION

_EXPLORED: dict[str, tuple[str, Callable[[Profile], Figure | None]]] = {
    "distributions": ("How the numbers are distributed", charts.distributions),
    "categories": ("How often each category is there", charts.categories),
    "timeline": ("Rows over time", charts.timeline),
    "correlation": ("Which numbers move together", charts.correlation),
    "missing": ("What is missing", charts.missing),
    "trials": ("How many groups there are", charts.trials),
}
_CLUSTERED: dict[str, tuple[str, Callable[[Groups], Figure | None]]] = {
    "clusters": ("The groups on two principal components", cluster_charts.clusters),
    "group_profiles": ("What is high and what is low in each group", cluster_charts.group_profiles),
}


def run(folder: Path, given: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001 - every step has it
    profile = Profile.model_validate_json((folder / EXPLORATION).read_bytes())
    drawn = {name: (title, chart(profile)) for name, (title, chart) in _EXPLORED.items()}
    if (found := folder / CLUSTERING).exists():
        groups = Groups.model_validate_json(found.read_bytes())
        drawn |= {name: (title, chart(groups)) for name, (title, chart) in _CLUSTERED.items()}
    pictures = []
    for name, (title, figure) in drawn.items():
        if figure is not None:
            style.save(figure, folder / f"{name}.png")
            pictures.append({"name": name, "title": title})
    return {"pictures": pictures}
