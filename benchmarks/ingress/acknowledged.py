"""From the moment at which a request was due to be produced to its start acknowledged, at half of the rate that the server can take."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from statistics import quantiles

from benchmarks.ingress.figure import Figure, Section
from benchmarks.ingress.place import Place
from benchmarks.ingress.processes import Ingress, ask, moment
from benchmarks.ingress.records import make_topics, preload, request
from benchmarks.ingress.throughput import sweep_raw
from headrace.producer import RequestProducer
from headrace.wire import Wire
from schemas.catalog import Catalog, shipped

_ROUNDS = 5
_WARM, _SECONDS = 2.0, 15.0


async def acknowledged(stack: dict[str, str], folder: Path, say: Callable[[str], None], *, rounds: int = _ROUNDS) -> Section:
    """The ingress and the bare client take turns at the same rate, both from a clock that does not wait for answers.

    The ingress's time ends with its line in the log, which is written behind the answer and the ledger; it begins before the record is
    sent to Kafka. The raw client's is its call. p99 of each round, and of all rounds together.
    """
    ours, raw = Place.new("latency", stack, folder), Place.new("raw", stack, folder)
    await make_topics(ours.settings)
    sweep = await sweep_raw(raw, say)
    rate = max(sweep.values()) / 2
    took_ingress: list[list[float]] = []
    took_raw: list[list[float]] = []
    for number in range(rounds):
        took_raw.append(await ask("raw", "open", "--rate", rate, "--warm", _WARM, "--seconds", _SECONDS, place=raw))
        took_ingress.append(await _through_kafka(ours, rate))
        say(f"round {number + 1} of {rounds}, {rate:.0f}/s: p99 raw {_p99(took_raw[-1]):.0f} ms, ingress {_p99(took_ingress[-1]):.0f} ms")
    return _section(rate, took_ingress, took_raw)


async def _through_kafka(place: Place, rate: float) -> list[float]:
    due: dict[str, float] = {}
    wire = Wire.of(place.settings, Catalog(shipped()))
    async with Ingress(place) as ingress, RequestProducer(place.settings, wire) as producer:
        await preload(place.settings, 1)
        await ingress.until_disposed(1, seconds=60)
        began = time.time()
        async with asyncio.TaskGroup() as sending:
            for number in range(int(rate * (_WARM + _SECONDS))):
                when = began + number / rate
                await asyncio.sleep(max(0.0, when - time.time()))
                wanted = request(number)
                due[str(wanted.event_id)] = when
                sending.create_task(producer.send(wanted))
        await ingress.until_disposed(1 + len(due), seconds=60)
    answered = {line["event_id"]: moment(line) for line in ingress.disposed("started")}
    return [(answered[event_id] - when) * 1000 for event_id, when in due.items() if when >= began + _WARM]


def _p99(milliseconds: list[float]) -> float:
    return quantiles(milliseconds, n=100)[98]


def _section(rate: float, ingress: list[list[float]], raw: list[list[float]]) -> Section:
    every_ingress, every_raw = list(itertools.chain(*ingress)), list(itertools.chain(*raw))
    figures = [
        Figure(
            f"produce to start acknowledged at {rate:.0f}/s: p99 over the raw client's",
            [_p99(ours) - _p99(bare) for ours, bare in zip(ingress, raw, strict=True)],
            "ms",
            most=50,
        ),
        Figure("the same over all rounds together", [_p99(every_ingress) - _p99(every_raw)], "ms"),
        Figure("ingress: p50", [quantiles(each, n=100)[49] for each in ingress], "ms"),
        Figure("raw client: p50", [quantiles(each, n=100)[49] for each in raw], "ms"),
        Figure("ingress: p99", [_p99(each) for each in ingress], "ms"),
        Figure("raw client: p99", [_p99(each) for each in raw], "ms"),
    ]
    permille = {"ingress": quantiles(every_ingress, n=1000), "raw": quantiles(every_raw, n=1000)}
    return Section(figures, {"rate": rate, "quantiles_ms": {name: [round(each, 2) for each in cuts] for name, cuts in permille.items()}})
