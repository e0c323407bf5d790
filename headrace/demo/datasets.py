"""A data set whose groups are known, made by the standard library alone: the same bytes in every run."""

from __future__ import annotations

import csv
import io
import random
from dataclasses import dataclass
from datetime import date, timedelta

GROUPS = 4


@dataclass(frozen=True, slots=True)
class _Group:
    share: float
    visits: tuple[float, float]
    """Mean and standard deviation, as below."""
    basket: tuple[float, float]
    distance: tuple[float, float]
    evening: float
    words: tuple[str, ...]


_GROUPS = (
    _Group(0.40, (9.0, 1.1), (18.0, 3.0), (1.5, 0.4), 0.25, ("fresh rolls every morning", "friendly, quick", "always the rye loaf")),
    _Group(0.28, (4.0, 0.7), (46.0, 5.0), (6.0, 0.9), 0.30, ("the big weekly shop", "flour for a month", "good coffee while we wait")),
    _Group(0.20, (1.4, 0.4), (31.0, 4.0), (22.0, 2.5), 0.55, ("worth the drive", "came for the mill tour", "a present for my mother")),
    _Group(0.12, (6.5, 0.8), (92.0, 8.0), (11.0, 1.2), 0.10, ("invoice by mail please", "forty baguettes on Friday", "delivery at six")),
)
_REGIONS = ("north bank", "south bank", "hill", "old town", "harbour")
_ENDINGS = ("", ", thanks", ", as always", " again", ", with the children", " before work", " on Saturday", ", see you soon", " in rain",
    ", well done", " for two", " by bike", ", keep it up", " with a neighbour", ", even in winter", " for the whole street")  # fmt: skip
_FIRST_DAY = date(2024, 3, 1)
_DAYS = 730
_MISSING = {"distance_km": 0.03, "evening_share": 0.06, "region": 0.015}
_UNBELIEVABLE, _NEWSLETTER, _COMMENTED = 0.002, 0.35, 0.65
_HEADER = ("customer_id", "first_seen", "visits_per_month", "basket_eur", "distance_km", "items_per_visit", "evening_share", "region",
    "newsletter", "comment")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Customers:
    csv: str
    groups: list[int]
    """The true group of each row, 0 to `GROUPS - 1`; not in the file."""


def customers(rows: int = 4000, seed: int = 1871) -> Customers:
    """Customers of a mill's shop: four kinds of them, a day, a comment, some values missing and a few beyond belief."""
    drawn = random.Random(seed)  # noqa: S311 - a data set, not a secret
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEADER)
    groups = drawn.choices(range(GROUPS), [group.share for group in _GROUPS], k=rows)
    for number, chosen in enumerate(groups):
        group = _GROUPS[chosen]
        basket = max(2.0, drawn.gauss(*group.basket))
        day = _FIRST_DAY + timedelta(days=int(_DAYS * drawn.random() ** 0.7))
        row = [
            f"C{number + 10_000}",
            day.isoformat(),
            f"{max(0.1, drawn.gauss(*group.visits)):.1f}",
            f"{basket * (12 if drawn.random() < _UNBELIEVABLE else 1):.2f}",
            f"{max(0.1, drawn.gauss(*group.distance)):.1f}",
            max(1, round(basket / 6.5 + drawn.gauss(0, 0.8))),
            f"{min(1.0, max(0.0, drawn.gauss(group.evening, 0.06))):.2f}",
            drawn.choice(_REGIONS),
            "yes" if drawn.random() < _NEWSLETTER else "no",
            drawn.choice(group.words) + drawn.choice(_ENDINGS) if drawn.random() < _COMMENTED else "",
        ]
        for name, share in _MISSING.items():
            if drawn.random() < share:
                row[_HEADER.index(name)] = ""
        writer.writerow(row)
    return Customers(text.getvalue(), groups)
