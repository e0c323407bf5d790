"""Makes the faults of a plan happen, each at its time."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections.abc import Awaitable, Callable, Iterator
from typing import Protocol
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.ids import workflow_id
from tests.faults.members import Member, Members
from tests.faults.plan import Fault, Name
from tests.faults.world import World, lock_database
from tests.support.temporal_proxy import START, Answer, Code

_SLOW_SECONDS = 0.08
_TINY = 200
"""Bytes: fewer than any dead letter has."""


class Target(Protocol):
    """The run that things happen to."""

    world: World
    members: Members

    async def make_dead_letters(self) -> None: ...

    async def limit_dead_letters(self, size: int | None) -> None: ...

    @property
    def engine(self) -> AsyncEngine: ...


class Answers:
    """What calls to Temporal get in place of its answers."""

    def __init__(self, rng: random.Random, refused: frozenset[UUID]) -> None:
        self._rng = rng
        self._refused = {workflow_id("image", event_id) for event_id in refused}
        self._active: list[tuple[float, Answer]] = []

    def decide(self, method: str, identity: str) -> Answer | None:
        drawn = next((answer for share, answer in self._active if self._rng.random() < share), None)
        if method == START and identity in self._refused:
            # The server itself would take it: it must never see one. That answer may be lost too.
            return Answer("INVALID_ARGUMENT" if drawn is None or drawn.code is None else drawn.code)
        return drawn

    @contextlib.contextmanager
    def while_active(self, share: float, answer: Answer) -> Iterator[None]:
        entry = (share, answer)
        self._active.append(entry)
        try:
            yield
        finally:
            self._active.remove(entry)


class Injection:
    """The faults of one run."""

    def __init__(self, target: Target, answers: Answers, rng: random.Random) -> None:
        self._target = target
        self._answers = answers
        self._rng = rng

    async def inject(self, faults: tuple[Fault, ...]) -> None:
        await asyncio.gather(*(self._at_its_time(fault) for fault in faults))

    async def _at_its_time(self, fault: Fault) -> None:
        await asyncio.sleep(fault.at)
        await self._what(fault.name)(fault)

    def _what(self, name: Name) -> Callable[[Fault], Awaitable[None]]:
        found: dict[Name, Callable[[Fault], Awaitable[None]]] = {
            "ingress-kill": self._kill,
            "ingress-roll": self._roll,
            "ingress-join": self._join,
            "ingress-pause": self._pause,
            "kafka-kill": lambda _: self._target.world.hit("kafka", signal.SIGKILL),
            "kafka-term": lambda _: self._target.world.hit("kafka", signal.SIGTERM),
            "kafka-pause": lambda fault: self._target.world.pause("kafka", 1.5 * fault.seconds),
            "temporal-kill": lambda _: self._target.world.hit("temporal", signal.SIGKILL),
            "temporal-pause": lambda fault: self._target.world.pause("temporal", fault.seconds),
            "net-slow": self._slow_network,
            "net-reset": self._reset,
            "net-drop": self._drop,
            "net-refuse": self._refuse,
            "rpc-lost-answers": lambda fault: self._answer(fault, "UNAVAILABLE", applied=True),
            "rpc-exhausted": lambda fault: self._answer(fault, "RESOURCE_EXHAUSTED"),
            "rpc-unavailable": lambda fault: self._answer(fault, "UNAVAILABLE"),
            "rpc-deadline": lambda fault: self._answer(fault, "DEADLINE_EXCEEDED", applied=True, late=0.3),
            "rpc-slow": lambda fault: self._answer(fault, None, late=0.5),
            "db-lock": lambda fault: lock_database(self._target.engine, 1.5 * fault.seconds),
            "db-away": self._database_away,
            "db-drop": self._database_drop,
            "dlq-missing": self._dead_letters_missing,
            "dlq-small": self._dead_letters_small,
        }
        return found[name]

    def _one(self) -> Member | None:
        alive = self._target.members.alive()
        return self._rng.choice(alive) if alive else None

    async def _kill(self, fault: Fault) -> None:
        if (member := self._one()) is not None:
            await self._target.members.kill(member)
        await asyncio.sleep(fault.seconds / 2)
        await self._target.members.start()

    async def _roll(self, _: Fault) -> None:
        """A rolling deploy: each process is replaced, one after the other."""
        for member in self._target.members.alive():
            await self._target.members.leave(member)
            await self._target.members.start()

    async def _join(self, fault: Fault) -> None:
        member = await self._target.members.start()
        await asyncio.sleep(1.0 + fault.seconds)
        await self._target.members.leave(member)

    async def _pause(self, fault: Fault) -> None:
        """Long enough, now and then, to be thought dead by the group."""
        if (member := self._one()) is None:
            return
        member.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(1.5 * fault.seconds)
        finally:
            member.signal(signal.SIGCONT)

    async def _slow_network(self, fault: Fault) -> None:
        self._target.world.network.delay = _SLOW_SECONDS
        await asyncio.sleep(fault.seconds)
        self._target.world.network.heal()

    async def _reset(self, fault: Fault) -> None:
        for _ in range(4):
            self._target.world.network.reset()
            await asyncio.sleep(fault.seconds / 4)

    async def _drop(self, fault: Fault) -> None:
        self._target.world.network.drop()
        await asyncio.sleep(fault.seconds)
        self._target.world.network.heal()

    async def _refuse(self, fault: Fault) -> None:
        self._target.world.network.refuse()
        await asyncio.sleep(fault.seconds)
        self._target.world.network.heal()

    async def _answer(self, fault: Fault, code: Code | None, *, applied: bool = False, late: float = 0.0) -> None:
        with self._answers.while_active(fault.share, Answer(code, applied, late)):
            await asyncio.sleep(fault.seconds)

    async def _database_away(self, fault: Fault) -> None:
        if (network := self._target.world.database.network) is not None:
            network.refuse()
            await asyncio.sleep(1.5 * fault.seconds)
            network.heal()

    async def _database_drop(self, fault: Fault) -> None:
        if (network := self._target.world.database.network) is not None:
            network.drop()
            await asyncio.sleep(1.5 * fault.seconds)
            network.heal()

    async def _dead_letters_missing(self, fault: Fault) -> None:
        await asyncio.sleep(fault.seconds)
        await self._target.make_dead_letters()

    async def _dead_letters_small(self, fault: Fault) -> None:
        await self._target.limit_dead_letters(_TINY)
        await asyncio.sleep(fault.seconds)
        await self._target.limit_dead_letters(None)
