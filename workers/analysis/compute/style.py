"""How every picture looks: one palette that colour-blind people can tell apart, quiet axes, names as they are."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager

from workers.analysis.compute.wording import number

# Okabe and Ito, Color Universal Design, 2008; black last, since it is the text's.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "*")
QUIET = "#8a8f98"
DIVERGING = "RdBu_r"
_DPI = 110
_NAME_CHARS = 26
_MILLION, _BILLION, _TINY = 1e6, 1e9, 1e-4

# The first one has no letters of East Asia: any of the others that this machine has lends them.
_FONTS = (
    "DejaVu Sans",
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "WenQuanYi Zen Hei",
    "Hiragino Sans",
    "Yu Gothic",
    "Microsoft YaHei",
    "Noto Sans",
)
_INSTALLED = {font.name for font in fontManager.ttflist}

mpl.rcParams.update(
    {
        "font.family": [font for font in _FONTS if font in _INSTALLED],
        "font.size": 10,
        "axes.titlesize": 11,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": QUIET,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#e3e5e8",
        "xtick.color": "#444b55",
        "ytick.color": "#444b55",
        "text.parse_math": False,  # a column may be called `price_$`
        "figure.facecolor": "white",
    }
)


def name(text: str) -> str:
    """A column's name where there is little room."""
    return text if len(text) <= _NAME_CHARS else text[: _NAME_CHARS - 1] + "…"


def figure(width: float, height: float) -> Figure:
    """Inches. Never through pyplot, which keeps every figure alive."""
    return Figure(figsize=(width, height), layout="constrained", dpi=_DPI)


def panels(count: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A grid with a panel for each; `width` and `height` are those of one panel."""
    columns = min(columns, count)
    rows = -(-count // columns)
    made = figure(width * columns, height * rows)
    axes = list(made.subplots(rows, columns, squeeze=False).flat)
    for left_over in axes[count:]:
        left_over.remove()
    return made, axes[:count]


def save(made: Figure, file: Path) -> None:
    """The same bytes for the same picture."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # a box stands for it
        made.savefig(file, format="png", metadata={"Software": None})


def thousands(axes: Axes, which: str = "y") -> None:
    """`12,000` and not `12000`, `3 M`, and `1e+30` for what would fill the page."""
    axis: Any = axes.yaxis if which == "y" else axes.xaxis
    axis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: _tick(value)))


def _tick(value: float) -> str:
    size = abs(value)
    if _MILLION <= size < _BILLION:
        return f"{value / _MILLION:g} M"
    return f"{value:g}" if size >= _BILLION or 0 < size < _TINY else number(value)
