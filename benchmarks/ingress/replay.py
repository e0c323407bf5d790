"""A group whose offsets were reset: 100,000 records that the ledger knows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.ingress.figure import Figure, Section
from benchmarks.ingress.place import Place
from benchmarks.ingress.processes import Ingress, moment, stub
from benchmarks.ingress.records import make_topics, preload, reset_group

_ROUNDS = 3
_LEAST_PER_SECOND = 200
"""Slower than this something hangs."""


async def replay(
    stack: dict[str, str], folder: Path, say: Callable[[str], None], *, records: int = 100_000, rounds: int = _ROUNDS
) -> Section:
    """The ingress starts every record once, against a stub that answers at once; then its group is reset and it reads them all again.

    Records a second from the first disposition to the last; the stub counts what it is asked meanwhile.
    """
    async with stub(seconds=0) as server:
        place = Place.new("replay", stack, folder, temporal=server.address)
        await make_topics(place.settings)
        await preload(place.settings, records)
        filled, _ = await _read_all(place, records)
        say(f"the ledger was filled at {filled:.0f} records/s")
        calls = await server.count()
        rates, cpus = [], []
        for number in range(rounds):
            await reset_group(place.settings)
            rate, cpu = await _read_all(place, records)
            say(f"round {number + 1} of {rounds}, replay: {rate:.0f} records/s, {cpu:.3f} ms CPU each")
            rates.append(rate)
            cpus.append(cpu)
        calls = await server.count() - calls
    figures = [
        Figure(f"replay of {records:,} records in the ledger", rates, "/s", least=5000),
        Figure("calls to Temporal during the replays", [calls], most=0),
        Figure("replay: CPU per record", cpus, "ms"),
        Figure("filling that ledger, a stub that answers at once: starts", [filled], "/s"),
    ]
    return Section(figures, {"records_per_second": rates, "filled_per_second": filled})


async def _read_all(place: Place, records: int) -> tuple[float, float]:
    """Records a second, and milliseconds of CPU for each, start of the process included."""
    async with Ingress(place) as ingress:
        await ingress.until_disposed(records, seconds=30 + records / _LEAST_PER_SECOND)
        cpu = ingress.cpu()
    # A record that finds the run which it has started itself is `started` again.
    assert len(ingress.disposed("started")) == len(ingress.records) == records
    moments = sorted(map(moment, ingress.records))
    return (records - 1) / (moments[-1] - moments[0]), cpu / records * 1000
