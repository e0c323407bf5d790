"""An exploration in sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from workers.analysis.compute.profile import ColumnProfile, Profile
from workers.analysis.compute.wording import count, listed, number, quality, share

_KINDS = {
    "number": "numbers",
    "time": "times",
    "category": "categories",
    "boolean": "yes or no",
    "text": "text",
    "identifier": "identifiers",
    "constant": "one value only",
    "empty": "nothing",
}
_SKEWED = 2.0
_MUCH_MISSING = 0.05
_NEARLY_SAME = 0.95


def summary(profile: Profile) -> str:
    """Two or three sentences: shape, kinds, what is missing."""
    kinds = Counter(column.kind for column in profile.columns)
    words = [
        f"{amount} of {_KINDS[kind]}" for kind, amount in sorted(kinds.items(), key=lambda item: (-item[1], list(_KINDS).index(item[0])))
    ]
    cells = profile.rows * len(profile.columns)
    missing = f"{share(profile.missing, cells)} of the values are missing." if profile.missing else "No value is missing."
    return f"{count(profile.rows, 'row')}, {count(len(profile.columns), 'column')}: {listed(words, 8)}. {missing}"


def headlines(profile: Profile) -> list[str]:
    """What a reader should see first, the weightiest first."""
    return [*_related(profile), *_over_time(profile), *_lopsided(profile), *_lacking(profile)][:8]


def grouping(profile: Profile) -> str:
    """Empty where no groups were tried."""
    best = max(profile.trials, key=lambda trial: trial.silhouette, default=None)
    if best is None:
        return ""
    if best.silhouette > 0.25:  # noqa: PLR2004 - see quality
        return f"The rows fall into {best.clusters} groups that are {quality(best.silhouette)} (silhouette {best.silhouette:.2f})."
    return f"The rows form no clear groups: the best silhouette is {best.silhouette:.2f}, with {best.clusters} groups."


def _related(profile: Profile) -> Iterator[str]:
    if profile.correlations is None:
        return
    for pair in profile.correlations.strongest[:3]:
        if abs(pair.r) >= _NEARLY_SAME:
            yield f"{pair.one} and {pair.other} carry nearly the same information (r = {pair.r:.2f})."
        else:
            way = "rises" if pair.r > 0 else "falls"
            yield f"{pair.one} {way} where {pair.other} rises (r = {pair.r:.2f})."
    if not profile.correlations.strongest:
        yield "No two number columns move together: every correlation is below 0.3."


def _over_time(profile: Profile) -> Iterator[str]:
    for column in profile.columns:
        if column.times is None:
            continue
        without = f"; {count(column.times.without, column.times.period)} in between without a row" if column.times.without else ""
        yield f"{column.name} runs from {_day(column.times.first)} to {_day(column.times.last)}{without}."


def _lopsided(profile: Profile) -> Iterator[str]:
    skewed = [column for column in profile.columns if column.numbers and abs(column.numbers.skew) > _SKEWED]
    for column in sorted(skewed, key=lambda column: -abs(_skew(column)))[:2]:
        assert column.numbers is not None  # noqa: S101 - chosen for it
        tail, side = ("high", "below") if column.numbers.skew > 0 else ("low", "above")
        middle, far = number(column.numbers.median), number(column.numbers.maximum if tail == "high" else column.numbers.minimum)
        yield f"{column.name} has a long tail of {tail} values: half lie {side} {middle}, the furthest is {far}."


def _skew(column: ColumnProfile) -> float:
    return column.numbers.skew if column.numbers else 0.0


def _lacking(profile: Profile) -> Iterator[str]:
    lacking = sorted(
        (column for column in profile.columns if column.missing > _MUCH_MISSING * profile.rows), key=lambda column: -column.missing
    )
    if lacking:
        yield f"Values are missing above all in {listed([f'{column.name} ({share(column.missing, profile.rows)})' for column in lacking])}."


def _day(moment: str) -> str:
    return moment.removesuffix(" 00:00:00")
