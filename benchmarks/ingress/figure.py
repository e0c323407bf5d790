"""A figure: what was measured in each round, and what it is to reach."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Figure:
    """`rounds` has one number for each round; the figure is their median."""

    name: str
    rounds: list[float]
    unit: str = ""
    least: float | None = None
    most: float | None = None
    """What the median is to reach, or not to pass; neither for a number that is only shown."""
    note: str = ""

    @property
    def median(self) -> float:
        return median(self.rounds)

    @property
    def to_reach(self) -> str:
        bounds = [f">= {_short(self.least)}"] if self.least is not None else []
        bounds += [f"<= {_short(self.most)}"] if self.most is not None else []
        return " ".join(bounds)

    @property
    def verdict(self) -> str:
        if self.least is None and self.most is None:
            return ""
        low_enough = self.most is None or self.median <= self.most
        return "reached" if low_enough and (self.least is None or self.median >= self.least) else "missed"

    @property
    def measured(self) -> str:
        spread = f" [{_short(min(self.rounds))} .. {_short(max(self.rounds))}]" if len(self.rounds) > 1 else ""
        return f"{_short(self.median)}{spread} {self.unit}".rstrip()

    def json(self) -> dict[str, Any]:
        return {**asdict(self), "median": self.median, "to_reach": self.to_reach, "verdict": self.verdict}


@dataclass(frozen=True)
class Section:
    """The figures of one measurement, and the numbers behind them that the plot draws."""

    figures: list[Figure]
    details: dict[str, Any] = field(default_factory=dict)


def _short(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"
