"""Where a contender works: topics, a group and a database of its own, on servers that all share."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

from headrace.settings import Settings

_NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class Place:
    """The settings of one contender, and the same as environment variables for its processes."""

    settings: Settings
    environment: dict[str, str]
    folder: Path

    @classmethod
    def new(cls, name: str, stack: dict[str, str], folder: Path, *, temporal: str | None = None) -> Place:
        """A fresh place; `temporal` is the address of another server than the stack's."""
        unique = f"{name}{next(_NUMBERS)}"
        environment = {
            **stack,
            "HEADRACE_TOPIC_PREFIX": f"{unique}.",
            "HEADRACE_INGRESS_GROUP": unique,
            "HEADRACE_DATABASE_URL": f"sqlite+aiosqlite:///{folder}/{unique}.db",
            "HEADRACE_STATE_DIR": str(folder / "no-state"),
        }
        given = {key.lower().removeprefix("headrace_"): value for key, value in environment.items()}
        settings = Settings.model_validate(given)
        # Topics and search attributes are made with the real server; only the contender's own process is sent elsewhere.
        return cls(settings, {**environment, **({"TEMPORAL_ADDRESS": temporal} if temporal else {})}, folder)
