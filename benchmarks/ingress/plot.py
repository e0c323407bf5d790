"""One picture of all sections that were measured: `benchmarks/results/ingress.png`."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

import matplotlib as mpl

from benchmarks.ingress.report import RESULTS

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

# Okabe and Ito's colours: told apart with every kind of colour vision, and each contender keeps its own.
_COLOURS = {"ingress": "#0072B2", "raw": "#E69F00", "batch": "#009E73", "one": "#CC79A7", "record": "#D55E00", "bound": "#000000"}
_NAMES = {
    "ingress": "ingress",
    "raw": "raw client",
    "batch": "naive loop,\nby batch",
    "one": "naive loop,\none by one",
    "record": "naive loop,\ncommit each",
}


_PAPER = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1}


def plot(sections: dict[str, Any]) -> None:
    """A panel for each thing that was measured."""
    panels: list[tuple[str, Callable[[Axes, dict[str, Any]], None]]] = [
        ("throughput", _starts),
        ("throughput", _cpu),
        ("acknowledged", _latency),
        ("order", _order),
        ("replay", _replay),
        ("outage", _memory),
    ]
    drawn = [(draw, sections[name]["details"]) for name, draw in panels if name in sections]
    figure, axes = plt.subplots((len(drawn) + 2) // 3, 3, figsize=(15, 4.4 * ((len(drawn) + 2) // 3)), squeeze=False)
    for axis, (draw, details) in zip(axes.flat, drawn, strict=False):
        draw(axis, details)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes.flat[len(drawn) :]:
        axis.set_visible(False)
    newest = max(sections.values(), key=lambda section: str(section["measured_at"]))
    figure.suptitle(
        f"The ingress, {newest['measured_at'][:10]}, {newest['machine']} (servers on the same cores); median, whiskers min to max"
    )
    figure.tight_layout()
    figure.savefig(RESULTS / "ingress.png", dpi=110)
    plt.close(figure)


def _bars(axis: Axes, rounds: dict[str, list[float]], label: str, *, digits: int = 0) -> None:
    """One bar for each contender, as high as its median."""
    for place, (name, values) in enumerate(rounds.items()):
        middle = median(values)
        spread = [[middle - min(values)], [max(values) - middle]]
        axis.bar(place, middle, color=_COLOURS[name], width=0.65, yerr=spread, capsize=4, error_kw={"ecolor": "#444444"})
        axis.annotate(f"{middle:,.{digits}f}", (place, max(values)), ha="center", va="bottom", xytext=(0, 3), textcoords="offset points")
    axis.set_xticks(range(len(rounds)), [_NAMES[name] for name in rounds])
    axis.set_ylabel(label)
    axis.margins(y=0.15)


def _starts(axis: Axes, details: dict[str, Any]) -> None:
    rounds = {name: [each["starts_per_second"] for each in found] for name, found in details["rounds"].items()}
    _bars(axis, rounds, "starts/s")
    axis.set_title(f"Starts on the embedded Temporal\n(raw client: {details['best_concurrency']} at a time)")


def _cpu(axis: Axes, details: dict[str, Any]) -> None:
    rounds = {name: [each["cpu_ms"] for each in found] for name, found in details["rounds"].items()}
    _bars(axis, rounds, "ms of CPU per start", digits=2)
    axis.axhline(1.5 * median(rounds["raw"]), color=_COLOURS["bound"], linestyle="--", linewidth=1)
    axis.set_title("CPU of the process itself, per start\n(dashed, not to pass: 1.5 x raw client)")


def _latency(axis: Axes, details: dict[str, Any]) -> None:
    for name, cuts in details["quantiles_ms"].items():
        axis.plot(cuts, [(number + 1) / (len(cuts) + 1) * 100 for number in range(len(cuts))], color=_COLOURS[name], label=_NAMES[name])
    axis.axhline(99, color=_COLOURS["bound"], linestyle=":", linewidth=1)
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.annotate("99 %", (axis.get_xlim()[0], 98), ha="left", va="top")
    axis.set_xlabel("ms, produce (or call) to start acknowledged")
    axis.set_ylabel("% of the requests")
    axis.legend(frameon=False, loc="lower right")
    axis.set_title(f"Latency at half the maximal rate ({details['rate']:.0f}/s)")


def _order(axis: Axes, details: dict[str, Any]) -> None:
    rounds = details["starts_per_second"]
    _bars(axis, {name: rounds[name] for name in ("raw", "ingress", "one", "record")}, "starts/s")
    bound = 20 * median(rounds["one"])
    axis.axhline(bound, color=_COLOURS["bound"], linestyle="--", linewidth=1)
    axis.annotate("20 x serial loop", (3.4, bound), ha="right", va="bottom", bbox=_PAPER)
    axis.set_title("One partition, 1,000 keys in order,\na server that answers in 5 ms (raw: 64 at a time, no order)")


def _replay(axis: Axes, details: dict[str, Any]) -> None:
    _bars(axis, {"ingress": details["records_per_second"]}, "records/s")
    axis.axhline(5000, color=_COLOURS["bound"], linestyle="--", linewidth=1)
    axis.annotate("to reach: 5,000", (0.6, 5000), ha="right", va="bottom", bbox=_PAPER)
    axis.set_xlim(-0.9, 0.9)
    axis.set_title("Replay of records that the ledger knows")


def _memory(axis: Axes, details: dict[str, Any]) -> None:
    seconds, mib = zip(*details["resident_mib"], strict=True)
    axis.plot([second / 60 for second in seconds], mib, color=_COLOURS["ingress"])
    axis.axvspan(details["away_at_second"] / 60, details["back_at_second"] / 60, color="#BBBBBB", alpha=0.4, linewidth=0)
    axis.annotate("Temporal away", ((details["away_at_second"] + details["back_at_second"]) / 120, max(mib) * 1.1), ha="center")
    axis.set_ylim(0, max(mib) * 1.25)
    axis.set_xlabel("minutes")
    axis.set_ylabel("resident MiB of the ingress")
    axis.set_title(f"Memory, {details['records']:,} records behind")
