"""What is temporary, what is old, and how a day is counted: without a client or a server."""

from __future__ import annotations

import hashlib
import math
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from schemas.completion import Status
from schemas.objects import HISTORY_ARCHIVE

PERCENTILES = {"p50": 50, "p95": 95, "p99": 99, "max": 100}


@dataclass(frozen=True, slots=True)
class Temporary:
    """An object or a local file below the prefix of temporary things."""

    name: str
    size_bytes: int
    modified_at: datetime


def removable(found: Iterable[Temporary], prefix: str, before: datetime) -> list[Temporary]:
    """Those that lie below `prefix` and were last written before `before`. A place that lists too much loses nothing by it."""
    return [each for each in found if each.name.startswith(prefix) and each.name != prefix and each.modified_at < before]


def midnight(day: date) -> datetime:
    """The moment in which a UTC day begins."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def archived_before(today: date, days_old: int) -> datetime:
    """Rows of before this are archived: whole UTC days only, so that a day is archived at one time."""
    return midnight(today - timedelta(days=days_old))


def archive_key(day: date, history_ids: Sequence[UUID]) -> str:
    """Derived from the rows alone: the same rows are the same object, however often they are archived."""
    digest = hashlib.sha256(b"".join(sorted(each.bytes for each in history_ids))).hexdigest()
    return f"{HISTORY_ARCHIVE}day={day.isoformat()}/{digest[:32]}.parquet"


@dataclass(frozen=True, slots=True)
class Observation:
    """What analytics need of one history row."""

    domain: str
    backend: str
    status: str
    error_code: str | None
    run_seconds: float | None
    answer_seconds: float | None


def observation(row: dict[str, object]) -> Observation:
    """Of a row of the table or of an archive."""
    recorded = row["recorded_at"]
    return Observation(
        domain=str(row["domain"]),
        backend=str(row["backend"] or ""),
        status=str(row["status"]),
        error_code=None if row["error_code"] is None else str(row["error_code"]),
        run_seconds=_seconds(row["started_at"], recorded),
        answer_seconds=_seconds(row["requested_at"], recorded),
    )


def _seconds(since: object, until: object) -> float | None:
    if not isinstance(since, datetime) or not isinstance(until, datetime):
        return None
    # A sender's clock may be ahead of ours.
    return max((until - since).total_seconds(), 0.0)


@dataclass(slots=True)
class _Group:
    statuses: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    run: array[float] = field(default_factory=lambda: array("d"))
    answer: array[float] = field(default_factory=lambda: array("d"))


@dataclass(frozen=True, slots=True)
class Summary:
    """One day of one domain and backend: a row of `daily_analytics` without its day."""

    domain: str
    backend: str
    counts: dict[str, int]
    """By status in lower case, and `total`."""
    error_codes: dict[str, int]
    seconds: dict[str, float | None]
    """`run_seconds_p50`, ...; None where no row has the time."""


class Tally:
    """Counts a day's rows as they come, in any order: 16 bytes a row are kept, for the percentiles."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str], _Group] = {}

    def add(self, observations: Iterable[Observation]) -> None:
        for each in observations:
            group = self._groups.setdefault((each.domain, each.backend), _Group())
            group.statuses[each.status] += 1
            if each.error_code is not None:
                group.errors[each.error_code] += 1
            if each.run_seconds is not None:
                group.run.append(each.run_seconds)
            if each.answer_seconds is not None:
                group.answer.append(each.answer_seconds)

    def summaries(self) -> list[Summary]:
        """Ordered by domain and backend: two runs that write the same day take its rows in the same order."""
        return [_summary(domain, backend, group) for (domain, backend), group in sorted(self._groups.items())]


def _summary(domain: str, backend: str, group: _Group) -> Summary:
    seconds = {
        f"{measure}_seconds_{name}": value
        for measure, values in (("run", group.run), ("answer", group.answer))
        for name, value in zip(PERCENTILES, nearest_ranks(values, PERCENTILES.values()), strict=True)
    }
    counts = {status.lower(): group.statuses[status] for status in Status}
    return Summary(domain, backend, {"total": group.statuses.total(), **counts}, dict(sorted(group.errors.items())), seconds)


def nearest_ranks(values: Iterable[float], percents: Iterable[int]) -> list[float | None]:
    """For each percent the smallest value that so many percent of the values do not exceed (nearest rank: Hyndman and Fan's type 1)."""
    ordered = sorted(values)
    return [ordered[max(math.ceil(percent * len(ordered) / 100), 1) - 1] if ordered else None for percent in percents]
