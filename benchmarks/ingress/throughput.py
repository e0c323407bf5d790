"""Against the real server, whose CPU is the bound: how much of what it can take does the ingress give it, and what does that cost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median

from benchmarks.ingress.figure import Figure, Section
from benchmarks.ingress.place import Place
from benchmarks.ingress.processes import ask_window, window_of_ingress
from benchmarks.ingress.records import make_topics, preload
from benchmarks.ingress.window import Window

CONCURRENCIES = (8, 16, 32, 64)
_ROUNDS, _SWEEPS = 5, 2
_WARM, _SECONDS = 3.0, 6.0
_MOST_PER_SECOND = 600
"""More starts a second than the embedded server has ever taken: what is preloaded lasts."""


async def throughput(stack: dict[str, str], folder: Path, say: Callable[[str], None], *, rounds: int = _ROUNDS) -> Section:
    """Contenders in turns, each in a fresh process with topics of its own; its first seconds do not count.

    The topics are filled beforehand. The bare client runs at the concurrency that was best in a sweep just before.
    """
    places = {name: Place.new(name, stack, folder) for name in ("raw", "ingress", "one", "batch")}
    for name in ("ingress", "one", "batch"):
        await make_topics(places[name].settings)
        await preload(places[name].settings, int(rounds * (_WARM + _SECONDS + 2) * _MOST_PER_SECOND))
    sweep = await sweep_raw(places["raw"], say)
    best = max(sweep, key=lambda concurrency: sweep[concurrency])

    async def raw() -> Window:
        return await ask_window("raw", "closed", "--concurrency", best, place=places["raw"], warm=_WARM, seconds=_SECONDS)

    async def ingress() -> Window:
        return await window_of_ingress(places["ingress"], warm=_WARM, seconds=_SECONDS)

    async def one() -> Window:
        return await ask_window("naive", "one", place=places["one"], warm=_WARM, seconds=_SECONDS)

    async def batch() -> Window:
        return await ask_window("naive", "batch", place=places["batch"], warm=_WARM, seconds=_SECONDS)

    found = await in_turns({"raw": raw, "ingress": ingress, "one": one, "batch": batch}, rounds, say)
    return _section(found, sweep, best)


async def sweep_raw(place: Place, say: Callable[[str], None]) -> dict[int, float]:
    """Starts/s of the bare client at each concurrency: the median of passes that take turns."""
    passes: dict[int, list[float]] = {concurrency: [] for concurrency in CONCURRENCIES}
    for _ in range(_SWEEPS):
        for concurrency in CONCURRENCIES:
            window = await ask_window("raw", "closed", "--concurrency", concurrency, place=place, warm=1, seconds=4)
            passes[concurrency].append(window.rate)
            say(f"raw client at concurrency {concurrency}: {window.rate:.0f} starts/s")
    return {concurrency: median(rates) for concurrency, rates in passes.items()}


async def in_turns(
    contenders: dict[str, Callable[[], Awaitable[Window]]], rounds: int, say: Callable[[str], None]
) -> dict[str, list[Window]]:
    """Every contender once in each round, the order turned by one from round to round."""
    found: dict[str, list[Window]] = {name: [] for name in contenders}
    for number in range(rounds):
        names = list(contenders)
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            window = await contenders[name]()
            found[name].append(window)
            say(f"round {number + 1} of {rounds}, {name}: {window.rate:.0f} starts/s, {window.cpu_ms:.2f} ms CPU each")
    return found


def _section(found: dict[str, list[Window]], sweep: dict[int, float], best: int) -> Section:
    pairs = list(zip(found["ingress"], found["raw"], strict=True))
    figures = [
        Figure("ingress starts/s over the raw client's", [ours.rate / raw.rate for ours, raw in pairs], least=0.95),
        Figure("ingress CPU per start over the raw client's", [ours.cpu_ms / raw.cpu_ms for ours, raw in pairs], most=1.5),
        Figure("ingress CPU per start beyond the raw client's", [ours.cpu_ms - raw.cpu_ms for ours, raw in pairs], "ms", most=1.0),
        *_shown(found, "raw", f"raw client, {best} at a time"),
        *_shown(found, "ingress", "ingress"),
        *_shown(found, "one", "naive loop, one at a time"),
        *_shown(found, "batch", "naive loop, a batch at a time"),
    ]
    rounds = {name: [{"starts_per_second": each.rate, "cpu_ms": each.cpu_ms} for each in windows] for name, windows in found.items()}
    return Section(figures, {"rounds": rounds, "raw_sweep": sweep, "best_concurrency": best})


def _shown(found: dict[str, list[Window]], name: str, title: str) -> list[Figure]:
    return [
        Figure(f"{title}: starts", [each.rate for each in found[name]], "/s"),
        Figure(f"{title}: CPU per start", [each.cpu_ms for each in found[name]], "ms"),
    ]
