"""A seed's plan: the load, how many ingress processes, and what happens to them and to the parts around them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from tests.faults.load import Load, draw_load

Name = Literal[
    "ingress-kill",
    "ingress-roll",
    "ingress-join",
    "ingress-pause",
    "kafka-kill",
    "kafka-term",
    "kafka-pause",
    "temporal-kill",
    "temporal-pause",
    "net-slow",
    "net-reset",
    "net-drop",
    "net-refuse",
    "rpc-lost-answers",
    "rpc-exhausted",
    "rpc-unavailable",
    "rpc-deadline",
    "rpc-slow",
    "db-lock",
    "db-away",
    "db-drop",
    "dlq-missing",
    "dlq-small",
]

WEIGHTS: dict[Name, int] = {
    "ingress-kill": 8,
    "ingress-roll": 5,
    "ingress-join": 4,
    "ingress-pause": 2,
    "kafka-kill": 2,
    "kafka-term": 2,
    "kafka-pause": 3,
    "temporal-kill": 4,
    "temporal-pause": 2,
    "net-slow": 2,
    "net-reset": 4,
    "net-drop": 2,
    "net-refuse": 2,
    "rpc-lost-answers": 8,
    "rpc-exhausted": 3,
    "rpc-unavailable": 3,
    "rpc-deadline": 3,
    "rpc-slow": 2,
    "db-lock": 4,
    "db-away": 2,
    "db-drop": 1,
    "dlq-missing": 2,
    "dlq-small": 3,
}
"""Those that cost seconds of waiting (Kafka) come less often; those that the promises are about come more often."""


_OF_POSTGRESQL = {"db-away", "db-drop"}
"""A file cannot be away as a server can."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong."""

    name: Name
    at: float
    """Seconds after the load has begun."""
    seconds: float
    """How long it lasts; for a process that is killed, until the next is started."""
    share: float
    """Of the calls that it concerns."""

    def word(self) -> str:
        return f"{self.name}@{self.at:.1f}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a seed says."""

    seed: int
    load: Load
    processes: int
    seconds: float
    """How long the load takes."""
    faults: tuple[Fault, ...]
    postgresql: bool
    """Whether the ledger is there and not in SQLite."""
    freezes: tuple[float, ...]
    """When every ingress process is held still and what is committed is looked at."""
    reread: bool
    """Whether the group is set back to the beginning at the end, with some runs deleted from Temporal."""

    def words(self) -> str:
        """For the table."""
        return " ".join(
            [
                f"{self.processes}i",
                *(["pg"] if self.postgresql else []),
                *(fault.word() for fault in self.faults),
                *(["reread"] if self.reread else []),
            ]
        )


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - repeatable is what it must be


def draw(seed: int, salt: str) -> Plan:
    """The plan of a seed: the same for the same seed, but for event IDs, which begin with `salt`."""
    rng = seeded(seed)
    load = draw_load(seeded(rng.getrandbits(64)), salt)
    seconds = rng.uniform(1.5, 3.0)
    names = list(WEIGHTS)
    drawn = rng.choices(names, [WEIGHTS[name] for name in names], k=rng.choice([1, 1, 2, 2, 3]))
    faults = []
    for name in dict.fromkeys(drawn):
        at = 0.0 if name == "dlq-missing" else rng.uniform(0.0, seconds)
        faults.append(Fault(name, at, rng.uniform(0.3, 2.0), rng.uniform(0.2, 0.9)))
    return Plan(
        seed=seed,
        load=load,
        processes=rng.choice([1, 1, 2, 2, 3]),
        seconds=seconds,
        faults=tuple(sorted(faults, key=lambda fault: fault.at)),
        postgresql=bool(_OF_POSTGRESQL & {fault.name for fault in faults}) or rng.random() < 0.1,
        reread=rng.random() < 0.3,
        freezes=_draw_freezes(rng, seconds, faults),
    )


def _draw_freezes(rng: random.Random, seconds: float, faults: list[Fault]) -> tuple[float, ...]:
    """One while something is wrong, and one at any time."""
    fault = rng.choice(faults)
    return tuple(sorted([fault.at + rng.uniform(0.2, 1.0) * fault.seconds, rng.uniform(0.3, seconds + 1.0)]))
