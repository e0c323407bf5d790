"""The pictures of the groups."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from workers.analysis.compute import style
from workers.analysis.compute.profile import Groups
from workers.analysis.compute.wording import share

_MOST_COLUMNS = 14
_DARK = 1.3
_BEYOND = 2.0


def clusters(groups: Groups) -> Figure | None:
    """Every group has a colour and a shape of its own, and its number at its middle."""
    points = np.array([(x, y) for x, y, _ in groups.points])
    labels = np.array([label for _, _, label in groups.points])
    if len(points) == 0:
        return None
    figure = style.figure(8.5, 5.6)
    axis = figure.subplots()
    if (labels < 0).any():
        alone = points[labels < 0]
        axis.scatter(alone[:, 0], alone[:, 1], s=10, color=style.QUIET, marker=".", label="no group", alpha=0.6)
    for profile in groups.profiles:
        mine = points[labels == profile.number - 1]
        at = (profile.number - 1) % len(style.PALETTE)
        shape = style.MARKERS[(profile.number - 1 + (profile.number - 1) // len(style.PALETTE)) % len(style.MARKERS)]
        words = f"group {profile.number} ({profile.rows:,} rows)"
        axis.scatter(
            mine[:, 0], mine[:, 1], s=18, color=style.PALETTE[at], marker=shape, alpha=0.55, linewidths=0.3, edgecolors="white", label=words
        )
    for profile in groups.profiles:
        mine = points[labels == profile.number - 1]
        if len(mine):
            middle = np.median(mine, axis=0)
            box = {"boxstyle": "circle,pad=0.25", "facecolor": "white", "edgecolor": "#222831", "alpha": 0.9}
            axis.text(middle[0], middle[1], str(profile.number), ha="center", va="center", fontweight="bold", bbox=box)
    axis.set_xlabel(f"first component ({share(groups.explained[0], 1)} of the variance)")
    axis.set_ylabel(f"second component ({share(groups.explained[1], 1)})")
    axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, markerscale=1.6, borderaxespad=0)
    return figure


def group_profiles(groups: Groups) -> Figure | None:
    """Which numbers are high or low in which group."""
    if not groups.numbers:
        return None
    order = np.argsort(-np.abs([profile.deviations for profile in groups.profiles]).max(axis=0), kind="stable")[:_MOST_COLUMNS]
    matrix = np.array([[profile.deviations[column] for column in order] for profile in groups.profiles])
    figure = style.figure(min(3.2 + 0.95 * len(order), 13), 1.9 + 0.5 * len(matrix))
    axis = figure.subplots()
    axis.grid(visible=False)
    image = axis.imshow(matrix, cmap=style.DIVERGING, vmin=-_BEYOND, vmax=_BEYOND, aspect="auto")
    axis.set_xticks(
        range(len(order)), [style.name(groups.numbers[column]) for column in order], rotation=30, ha="right", rotation_mode="anchor"
    )
    axis.set_yticks(range(len(matrix)), [f"group {profile.number}" for profile in groups.profiles])
    axis.spines[:].set_visible(False)
    for (row, column), deviation in np.ndenumerate(matrix):
        words, colour = f"{round(deviation, 1) or 0.0:+.1f}", "white" if abs(deviation) > _DARK else "#222831"
        axis.text(column, row, words, ha="center", va="center", color=colour)
    figure.colorbar(image, ax=axis, label="standard deviations\nfrom the mean", extend="both")
    return figure
