"""The ledger, by two processes that begin and end, does what a dict does."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import RowMapping, select
from sqlalchemy.ext.asyncio import AsyncEngine

from headrace.store import migrate
from headrace.store.engine import engine
from headrace.store.tables import LEDGER
from ingress.ledger import Claim, Entry, Ledger

T = TypeVar("T")

_EVENTS = [UUID(int=number << 96) for number in range(6)]


events = st.sampled_from(_EVENTS)
processes = st.sampled_from([0, 1])
claims = st.builds(
    Claim,
    event_id=events,
    record=st.sampled_from(["headrace.image.ImageGenerationRequested", "headrace.analysis.DataAnalysisRequested"]),
    payload_sha256=st.binary(min_size=32, max_size=32),
    topic=st.sampled_from(["image.requests", "analysis.requests"]),
    partition=st.integers(0, 2**31 - 1),
    offset=st.integers(0, 2**63 - 1),
)
settlements = st.tuples(events, st.sampled_from(["started", "signalled", "rejected"]), st.none() | st.text("ab-", max_size=9))


class LedgerMachine(RuleBasedStateMachine):
    """`rows` is the model: event ID to entry and the moment of its claim."""

    def __init__(self, loop: asyncio.AbstractEventLoop, reader: AsyncEngine) -> None:
        super().__init__()
        self._loop = loop
        self._reader = reader
        self._ledgers: list[Ledger] = []
        self._moment = datetime(2027, 1, 1, tzinfo=UTC)
        self.rows: dict[UUID, tuple[Entry, datetime]] = {}

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(asyncio.wait_for(coroutine, 10))

    def _begin(self) -> Ledger:
        url = self._reader.url.render_as_string(hide_password=False)
        return self._run(Ledger(engine(url), now=lambda: self._moment).__aenter__())

    @initialize()
    def begin(self) -> None:
        self._run(self._forget())
        self._ledgers = [self._begin(), self._begin()]

    async def _forget(self) -> None:
        async with self._reader.begin() as connection:
            await connection.execute(LEDGER.delete())

    def teardown(self) -> None:
        for ledger in self._ledgers:
            self._run(ledger.__aexit__(None, None, None))

    def _claimed(self, claim: Claim) -> Entry:
        held = self.rows.get(claim.event_id)
        if held is None or held[0].disposition == "rejected":
            place = (claim.event_id, claim.record, claim.payload_sha256, claim.topic, claim.partition, claim.offset)
            self.rows[claim.event_id] = (Entry(*place, "pending", None, None), self._moment)
        return self.rows[claim.event_id][0]

    def _settled(self, event_id: UUID, disposition: str, run_id: str | None) -> None:
        held = self.rows.get(event_id)
        if held is not None and held[0].disposition == "pending":
            entry = held[0]
            place = (entry.event_id, entry.record, entry.payload_sha256, entry.topic, entry.partition, entry.offset)
            self.rows[event_id] = (Entry(*place, disposition, f"image-{event_id}", run_id), held[1])

    @rule(process=processes, claim=claims)
    def claim(self, process: int, claim: Claim) -> None:
        assert self._run(self._ledgers[process].claim(claim)) == self._claimed(claim)

    @rule(process=processes, settlement=settlements)
    def settle(self, process: int, settlement: tuple[UUID, str, str | None]) -> None:
        event_id, disposition, run_id = settlement
        self._run(self._ledgers[process].settle(event_id, disposition, f"image-{event_id}", run_id))
        self._settled(*settlement)

    @rule(process=processes, calls=st.lists(claims | settlements, max_size=12))
    def call_at_once(self, process: int, calls: list[Claim | tuple[UUID, str, str | None]]) -> None:
        """Gathered into few transactions, and yet as if one after the other."""
        ledger = self._ledgers[process]

        async def gathered() -> list[Entry | None]:
            return await asyncio.gather(
                *(
                    ledger.claim(call) if isinstance(call, Claim) else ledger.settle(call[0], call[1], f"image-{call[0]}", call[2])
                    for call in calls
                )
            )

        expected: list[Entry | None] = []
        for call in calls:
            if isinstance(call, Claim):
                expected.append(self._claimed(call))
            else:
                self._settled(*call)
                expected.append(None)
        assert self._run(gathered()) == expected

    @rule(pairs=st.lists(st.tuples(claims, claims), min_size=1, max_size=6))
    def race(self, pairs: list[tuple[Claim, Claim]]) -> None:
        """Two processes at once, on the same events in their own orders: one of the two is the owner, and both say which."""
        ones = {one.event_id: one for one, _ in pairs}
        twos = {two.event_id: two for _, two in reversed(pairs)}

        async def gathered() -> list[Entry]:
            return await asyncio.gather(
                *(self._ledgers[0].claim(claim) for claim in ones.values()), *(self._ledgers[1].claim(claim) for claim in twos.values())
            )

        for entry in self._run(gathered()):
            rivals = [claim for claim in (ones.get(entry.event_id), twos.get(entry.event_id)) if claim is not None]
            held = self.rows.get(entry.event_id)
            if held is None or held[0].disposition == "rejected":
                first = next(claim for claim in rivals if _place(claim) == _place(entry))
                self._claimed(first)
            assert self.rows[entry.event_id][0] == entry

    @rule(process=processes, event_id=events)
    def find(self, process: int, event_id: UUID) -> None:
        held = self.rows.get(event_id)
        assert self._run(self._ledgers[process].find(event_id)) == (held[0] if held else None)

    @rule(process=processes)
    def restart(self, process: int) -> None:
        self._run(self._ledgers[process].__aexit__(None, None, None))
        self._ledgers[process] = self._begin()

    @rule(days=st.integers(1, 4))
    def time_passes(self, days: int) -> None:
        self._moment += timedelta(days=days)

    @rule(process=processes)
    def purge(self, process: int) -> None:
        before = self._moment - timedelta(days=3)
        old = [event_id for event_id, (entry, at) in self.rows.items() if at < before and entry.disposition != "pending"]
        assert self._run(self._ledgers[process].purge(before)) == len(old)
        for event_id in old:
            del self.rows[event_id]

    @invariant()
    def every_row_is_as_it_should_be(self) -> None:
        rows = self._run(self._read())
        assert {row["event_id"]: (_entry(row), row["claimed_at"]) for row in rows} == self.rows
        for row in rows:
            assert (row["settled_at"] is None) == (row["disposition"] == "pending")

    async def _read(self) -> Sequence[RowMapping]:
        async with self._reader.connect() as connection:
            return (await connection.execute(select(LEDGER))).mappings().all()


def _entry(row: RowMapping) -> Entry:
    return Entry(**{field.name: row[field.name] for field in fields(Entry)})


def _place(at: Claim | Entry) -> tuple[Any, ...]:
    return (at.event_id, at.record, at.payload_sha256, at.topic, at.partition, at.offset)


def test_two_processes_do_what_a_dict_does(database_url: str) -> None:
    loop = asyncio.new_event_loop()
    reader = engine(database_url)
    few = settings(max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    try:
        loop.run_until_complete(migrate.upgrade(reader))
        run_state_machine_as_test(partial(LedgerMachine, loop, reader), settings=few)  # type: ignore[arg-type]  # it takes any callable
    finally:
        loop.run_until_complete(reader.dispose())
        loop.close()
