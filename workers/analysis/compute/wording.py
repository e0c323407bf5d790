"""Numbers and names as people read them."""

from __future__ import annotations

import math
from collections.abc import Sequence

_BIG, _SMALL = 1e9, 1e-4


def number(value: float) -> str:
    """Four significant digits, thousands separated: `1,234`, `12.35`, `0.01235`, `1.235e+12`."""
    if not math.isfinite(value):
        return "\N{EN DASH}"
    if value == 0:
        return "0"
    size = abs(value)
    if size >= _BIG or size < _SMALL:
        return f"{value:.3e}".replace("e+0", "e+").replace("e-0", "e-")
    if float(value).is_integer() or size >= 1000:  # noqa: PLR2004
        return f"{value:,.0f}"
    decimals = max(0, 3 - math.floor(math.log10(size)))
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def share(part: float, whole: float) -> str:
    """A percentage that is 0 only for none and 100 only for all."""
    if whole <= 0 or part <= 0:
        return "0 %"
    if part >= whole:
        return "100 %"
    percent = 100 * part / whole
    if percent < 0.1:  # noqa: PLR2004
        return "< 0.1 %"
    if percent > 99.9:  # noqa: PLR2004
        return "> 99.9 %"
    return f"{percent:.1f} %" if percent < 10 else f"{min(percent, 99.9):.0f} %" if percent < 99.5 else f"{percent:.1f} %"  # noqa: PLR2004


def count(amount: int, one: str, many: str | None = None) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{amount:,} {one if amount == 1 else many or one + 's'}"


def listed(words: Sequence[str], most: int = 4) -> str:
    """`a`, `a and b`, `a, b, c and 7 more`."""
    shown = list(words[:most])
    if len(words) > most:
        return f"{', '.join(shown)} and {len(words) - most} more"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}" if shown else "none"


def quality(silhouette: float) -> str:
    """How clear groups are, in the words of Kaufman and Rousseeuw, Finding Groups in Data, 1990, table 2.4."""
    if silhouette > 0.7:  # noqa: PLR2004
        return "clearly apart"
    if silhouette > 0.5:  # noqa: PLR2004
        return "well apart"
    if silhouette > 0.25:  # noqa: PLR2004
        return "overlapping"
    return "hardly apart"
