"""The pictures of an exploration. Each gives a figure, or None where there is nothing to see."""

from __future__ import annotations

from datetime import datetime

import numpy as np
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from workers.analysis.compute import style
from workers.analysis.compute.profile import Profile
from workers.analysis.compute.wording import number, share

_MOST_PANELS = 12
_MOST_BARS = 25
_MOST_TIMES = 3
_ANNOTATED = 14
_DARK = 0.6


def distributions(profile: Profile) -> Figure | None:
    shown = [column for column in profile.columns if column.numbers][:_MOST_PANELS]
    if not shown:
        return None
    figure, axes = style.panels(len(shown), 3, 3.7, 2.7)
    for axis, column in zip(axes, shown, strict=True):
        numbers = column.numbers
        assert numbers is not None  # noqa: S101 - chosen for it
        edges = np.array(numbers.edges)
        axis.bar(edges[:-1], numbers.counts, np.diff(edges), align="edge", color=style.PALETTE[0], edgecolor="white", linewidth=0.5)
        axis.axvline(numbers.median, color=style.PALETTE[5], linewidth=1.5, linestyle="--")
        axis.set_title(style.name(column.name))
        beyond = f"; {numbers.left_out:,} beyond, to {number(numbers.maximum)}" if numbers.left_out else ""
        axis.set_xlabel(f"median {number(numbers.median)} (dashed){beyond}", fontsize=9)
        axis.set_ylabel("rows", fontsize=9)
        axis.xaxis.set_major_locator(MaxNLocator(5))
        axis.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        style.thousands(axis)
        style.thousands(axis, "x")
        axis.grid(visible=False, axis="x")
    return figure


def categories(profile: Profile) -> Figure | None:
    shown = [column for column in profile.columns if column.levels and column.kind != "constant"][:_MOST_PANELS]
    if not shown:
        return None
    most = max(len(column.levels.most) for column in shown if column.levels)
    figure, axes = style.panels(len(shown), 2, 5.5, 0.9 + 0.3 * max(3, most))
    for axis, column in zip(axes, shown, strict=True):
        levels = column.levels
        assert levels is not None  # noqa: S101 - chosen for it
        counts = [level.count for level in levels.most]
        bars = axis.barh([style.name(level.value) for level in levels.most], counts, color=style.PALETTE[0], height=0.7)
        axis.bar_label(bars, [f" {share(amount, profile.rows - column.missing)}" for amount in counts], fontsize=9, color="#444b55")
        axis.invert_yaxis()
        axis.set_ylim(most - 0.4, -0.6)
        rest = f" ({levels.distinct - len(levels.most)} more)" if levels.distinct > len(levels.most) else ""
        axis.set_title(style.name(column.name) + rest)
        axis.set_xlabel("rows", fontsize=9)
        axis.set_xlim(0, max(counts) * 1.18)
        axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        style.thousands(axis, "x")
        axis.grid(visible=False, axis="y")
    return figure


def missing(profile: Profile) -> Figure | None:
    lacking = sorted((column for column in profile.columns if column.missing), key=lambda column: -column.missing)[:_MOST_BARS]
    if not lacking:
        return None
    figure = style.figure(9, 1.0 + 0.32 * len(lacking))
    axis = figure.subplots()
    shares = [100 * column.missing / profile.rows for column in lacking]
    bars = axis.barh([style.name(column.name) for column in lacking], shares, color=style.PALETTE[1], height=0.7)
    axis.bar_label(bars, [f" {share(column.missing, profile.rows)}" for column in lacking], fontsize=9)
    axis.invert_yaxis()
    axis.set_xlim(0, min(112, max(10, max(shares) * 1.15)))
    axis.set_xlabel("missing values, % of the rows")
    axis.grid(visible=False, axis="y")
    return figure


def correlation(profile: Profile) -> Figure | None:
    found = profile.correlations
    if found is None:
        return None
    names = [style.name(column) for column in found.columns]
    matrix = np.array([[np.nan if r is None else r for r in row] for row in found.matrix])
    side = 2.4 + 0.55 * len(names)
    figure = style.figure(min(side + 1.6, 13), min(side, 12))
    axis = figure.subplots()
    axis.grid(visible=False)
    image = axis.imshow(np.ma.masked_invalid(matrix), cmap=style.DIVERGING, vmin=-1, vmax=1)
    axis.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(len(names)), names)
    axis.spines[:].set_visible(False)
    if len(names) <= _ANNOTATED:
        for (row, column), r in np.ndenumerate(matrix):
            if np.isfinite(r):
                axis.text(column, row, f"{r:.2f}", ha="center", va="center", fontsize=8, color="white" if abs(r) > _DARK else "#222831")
    figure.colorbar(image, ax=axis, shrink=0.75, label="Pearson's r")
    return figure


def timeline(profile: Profile) -> Figure | None:
    shown = [column for column in profile.columns if column.times][:_MOST_TIMES]
    if not shown:
        return None
    figure, axes = style.panels(len(shown), 1, 9, 2.6)
    for axis, column in zip(axes, shown, strict=True):
        times = column.times
        assert times is not None  # noqa: S101 - chosen for it
        starts = [float(date2num(datetime.fromisoformat(start))) for start in times.starts]  # type: ignore[no-untyped-call]
        counts = list(times.counts)
        if len(starts) > 1:  # the last period has an end too
            starts, counts = [*starts, starts[-1] + (starts[-1] - starts[-2])], [*counts, counts[-1]]
        axis.step(starts, counts, where="post", color=style.PALETTE[0], linewidth=1.6)
        axis.fill_between(starts, counts, step="post", color=style.PALETTE[0], alpha=0.15)
        axis.set_ylim(bottom=0)
        axis.set_title(style.name(column.name))
        axis.set_ylabel(f"rows per {times.period}")
        locator = AutoDateLocator(maxticks=9)  # type: ignore[no-untyped-call]
        axis.xaxis.set_major_locator(locator)
        axis.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
        axis.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        style.thousands(axis)
    return figure


def trials(profile: Profile) -> Figure | None:
    if len(profile.trials) < 2:  # noqa: PLR2004 - nothing to compare
        return None
    figure = style.figure(6.5, 3)
    axis = figure.subplots()
    clusters, values = [trial.clusters for trial in profile.trials], [trial.silhouette for trial in profile.trials]
    axis.plot(clusters, values, marker="o", color=style.PALETTE[0])
    best = int(np.argmax(values))
    axis.plot(clusters[best], values[best], marker="o", markersize=12, markerfacecolor="none", markeredgewidth=2, color=style.PALETTE[5])
    axis.annotate(f"{clusters[best]} groups", (clusters[best], values[best]), xytext=(10, 4), textcoords="offset points", fontweight="bold")
    axis.set_xticks(clusters)
    axis.set_xlabel("number of groups")
    axis.set_ylabel("silhouette")
    axis.set_ylim(min(0, *values), max(values) * 1.2 + 0.05)
    return figure
