"""A backlog of a million records and Temporal away for ten minutes: what waits is in Kafka, not in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.ingress.figure import Figure, Section
from benchmarks.ingress.place import Place
from benchmarks.ingress.processes import Ingress, Stub, moment, stub
from benchmarks.ingress.records import dead_letters, make_topics, preload

_ANSWER_SECONDS = 0.005
_WARM, _SECONDS = 10.0, 20.0
_SAY_EVERY = 100_000


@dataclass
class Seen:
    """What an ingress did before, during and after the outage; moments as `time.time()` gives them."""

    began: float
    away: float = 0.0
    back: float = 0.0
    waited_cpu_seconds: float = 0.0
    resident: list[tuple[float, float]] = field(default_factory=list)
    """Moment, MiB; every second."""
    starts: list[float] = field(default_factory=list)
    rebalances: int = 0

    def rate(self, begin: float) -> float:
        return sum(begin <= each < begin + _SECONDS for each in self.starts) / _SECONDS

    @property
    def resumed(self) -> float:
        return next(each for each in self.starts if each > self.back)


async def outage(
    stack: dict[str, str], folder: Path, say: Callable[[str], None], *, minutes: float = 10, records: int = 1_000_000
) -> Section:
    """The stub answers, is killed for `minutes`, and answers again; resident memory of the ingress is read every second.

    Growth is the highest reading of the outage over the highest one before it. The rate after is taken over a window that begins with the
    first start after the outage, the one before over a window as long that ends where the outage begins.
    """
    async with stub(seconds=_ANSWER_SECONDS) as server:
        place = Place.new("outage", stack, folder, temporal=server.address)
        await make_topics(place.settings)
        await preload(place.settings, records, lambda done: say(f"{done:,} records produced") if done % _SAY_EVERY == 0 else None)
        async with Ingress(place) as ingress:
            await ingress.until_disposed(1, seconds=60)
            seen = Seen(began=time.time())
            sampling = asyncio.create_task(_sample(ingress, seen))
            try:
                await _go_through(ingress, server, seen, minutes, say)
            finally:
                sampling.cancel()
        letters = await dead_letters(place.settings)
    return _section(seen, letters, f"Temporal away for {minutes:g} min, {records:,} records behind", minutes, records)


async def _go_through(ingress: Ingress, server: Stub, seen: Seen, minutes: float, say: Callable[[str], None]) -> None:
    await asyncio.sleep(_WARM + _SECONDS)
    seen.away, cpu = time.time(), ingress.cpu()
    await server.away()
    for minute in range(int(minutes)):
        await asyncio.sleep(60)
        say(f"Temporal is away, minute {minute + 1} of {minutes:g}: {seen.resident[-1][1]:.0f} MiB")
    await asyncio.sleep((minutes - int(minutes)) * 60)
    seen.waited_cpu_seconds = ingress.cpu() - cpu
    await server.back()
    seen.back = time.time()
    ingress.read()
    await ingress.until_disposed(len(ingress.records) + 1, seconds=60)
    await asyncio.sleep(_SECONDS + 1)
    ingress.read()
    seen.starts = list(map(moment, ingress.disposed("started")))
    assert seen.starts[-1] >= seen.resumed + _SECONDS, "the backlog was gone before the window ended: more records are needed"
    moves = [line for name in ("partitions_assigned", "partitions_revoked") for line in ingress.events(name)]
    seen.rebalances = sum(moment(line) > seen.began for line in moves)


async def _sample(ingress: Ingress, seen: Seen) -> None:
    while True:
        seen.resident.append((time.time(), ingress.resident_mib()))
        await asyncio.sleep(1)


def _section(seen: Seen, letters: int, title: str, minutes: float, records: int) -> Section:
    before, after = seen.rate(seen.away - _SECONDS), seen.rate(seen.resumed)
    highest_before = max(mib for when, mib in seen.resident if when <= seen.away)
    highest_during = max(mib for when, mib in seen.resident if seen.away <= when <= seen.back)
    figures = [
        Figure(f"{title}: growth of resident memory", [highest_during - highest_before], "MiB", most=20),
        Figure("rebalances meanwhile", [float(seen.rebalances)], most=0),
        Figure("dead letters meanwhile", [float(letters)], most=0),
        Figure("starts/s after it over starts/s before it", [after / before], least=0.9),
        Figure("from the server's return to the first start", [seen.resumed - seen.back], "s"),
        Figure("resident memory before it", [highest_before], "MiB"),
        Figure("CPU while it waits", [seen.waited_cpu_seconds / (seen.back - seen.away) * 100], "% of a core"),
    ]
    details = {
        "minutes": minutes,
        "records": records,
        "away_at_second": seen.away - seen.began,
        "back_at_second": seen.back - seen.began,
        "resident_mib": [[round(when - seen.began, 1), round(mib, 1)] for when, mib in seen.resident],
        "starts_per_second": {"before": before, "after": after},
    }
    return Section(figures, details)
