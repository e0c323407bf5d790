"""What one contender did in one stretch of time."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Window:
    """Starts that were answered, wall clock, and CPU (user and system, every thread) of the contender's own process."""

    starts: int
    seconds: float
    cpu_seconds: float

    @property
    def rate(self) -> float:
        return self.starts / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Of CPU, for each start."""
        return self.cpu_seconds / self.starts * 1000 if self.starts else float("nan")


class OwnWindow:
    """The window of a process that counts its own starts: `started()` after each one, until it says that the window is over."""

    def __init__(self, *, warm: float, seconds: float) -> None:
        self._opens = time.monotonic() + warm
        self._closes = self._opens + seconds
        self._count = 0
        self._began: tuple[float, float] | None = None
        self._found: Window | None = None

    def started(self) -> bool:
        """Whether to go on."""
        now = time.monotonic()
        if self._began is None:
            if now >= self._opens:
                self._began = (now, time.process_time())
        elif self._found is None:
            self._count += 1
            if now >= self._closes:
                began, cpu = self._began
                self._found = Window(self._count, now - began, time.process_time() - cpu)
        return self._found is None

    def print(self) -> None:
        """One JSON line, for the process that asked."""
        assert self._found is not None, "the work ended before the window did: preload more"
        print(json.dumps(asdict(self._found)), flush=True)
