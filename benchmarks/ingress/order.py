"""One partition, 1,000 keys, a server that answers in 5 ms: order does not mean one after another."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.ingress.figure import Figure, Section
from benchmarks.ingress.place import Place
from benchmarks.ingress.processes import ask_window, stub, window_of_ingress
from benchmarks.ingress.records import USERS, make_topics, preload
from benchmarks.ingress.throughput import in_turns
from benchmarks.ingress.window import Window

_ROUNDS = 3
_WARM, _SECONDS = 3.0, 5.0
_ANSWER_SECONDS = 0.005
_RAW_CONCURRENCY = 64
_MOST_PER_SECOND = {"ingress": 4000, "one": 220, "record": 220}


async def order(stack: dict[str, str], folder: Path, say: Callable[[str], None], *, rounds: int = _ROUNDS) -> Section:
    """The ingress and two serial loops take turns on the stub; beside them the bare client, with nothing to read and no order to keep.

    Order is judged by the stub: a start of a key arrives after the one before it, by offset, was answered.
    """
    async with stub(seconds=_ANSWER_SECONDS, keep=True) as server:
        places = {name: Place.new(name, stack, folder, temporal=server.address) for name in ("ingress", "one", "record", "raw")}
        for name, most in _MOST_PER_SECOND.items():
            await make_topics(places[name].settings, partitions=1)
            await preload(places[name].settings, int(rounds * (_WARM + _SECONDS + 2) * most))
        arrivals: list[Any] = []

        async def ingress() -> Window:
            await server.arrivals()
            window = await window_of_ingress(places["ingress"], warm=_WARM, seconds=_SECONDS)
            arrivals.append(await server.arrivals())
            return window

        async def raw() -> Window:
            return await ask_window("raw", "closed", "--concurrency", _RAW_CONCURRENCY, place=places["raw"], warm=_WARM, seconds=_SECONDS)

        async def one() -> Window:
            return await ask_window("naive", "one", place=places["one"], warm=_WARM, seconds=_SECONDS)

        async def record() -> Window:
            return await ask_window("naive", "record", place=places["record"], warm=_WARM, seconds=_SECONDS)

        found = await in_turns({"ingress": ingress, "one": one, "record": record, "raw": raw}, rounds, say)
    return _section(found, arrivals)


def out_of_order(arrivals: list[Any]) -> int:
    """Starts that arrived before the one with the next lower offset of their key was answered."""
    by_key: dict[str, list[tuple[int, float, float]]] = defaultdict(list)
    for arrived, answered, _, partition, offset, key in arrivals:
        assert partition == 0
        by_key[key].append((offset, arrived, answered))
    assert len(by_key) > 0.9 * USERS, "too few starts to say anything of order"
    wrong = 0
    for starts in by_key.values():
        starts.sort()
        wrong += sum(later[1] < earlier[2] or earlier[2] == 0 for earlier, later in itertools.pairwise(starts))
    return wrong


def _section(found: dict[str, list[Window]], arrivals: list[Any]) -> Section:
    serial, behind_each = found["one"], found["record"]
    figures = [
        Figure(
            "one partition, 1,000 keys, 5 ms server: over a serial loop",
            [ours.rate / loop.rate for ours, loop in zip(found["ingress"], serial, strict=True)],
            "x",
            least=20,
        ),
        Figure(
            "the same, the serial loop commits behind each record",
            [ours.rate / loop.rate for ours, loop in zip(found["ingress"], behind_each, strict=True)],
            "x",
        ),
        Figure("starts out of their key's order", [float(out_of_order(each)) for each in arrivals], most=0),
        Figure("ingress on the 5 ms server: starts", [each.rate for each in found["ingress"]], "/s"),
        Figure("ingress on the 5 ms server: CPU per start", [each.cpu_ms for each in found["ingress"]], "ms"),
        Figure(f"raw client on it, {_RAW_CONCURRENCY} at a time, no Kafka, no order: starts", [each.rate for each in found["raw"]], "/s"),
        Figure("raw client on it: CPU per start", [each.cpu_ms for each in found["raw"]], "ms"),
        Figure("serial loop on it: starts", [each.rate for each in serial], "/s"),
        Figure("serial loop that commits behind each record: starts", [each.rate for each in behind_each], "/s"),
    ]
    return Section(figures, {"starts_per_second": {name: [each.rate for each in windows] for name, windows in found.items()}})
