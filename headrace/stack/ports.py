"""Loopback ports: the one used last time in this folder, else the well-known one, else any that is free.

Two choosers never get the same port: within a process the chosen ones are remembered, between processes each choice is a locked
file in the temporary folder, held until the supervisor ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from headrace.stack.errors import StackError

LOOPBACK = "127.0.0.1"
WELL_KNOWN = {"kafka": 9092, "temporal": 7233, "temporal-ui": 8233, "s3": 8333}
# Below the ranges from which Linux (32768) and macOS (49152) take ports for outgoing connections: one that was free stays free.
FREE_RANGE = range(15000, 30000)
TRIES = 500


@dataclass(frozen=True)
class Choice:
    """A port, and the one that was wanted instead if that is in use."""

    port: int
    in_use: int | None = None


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        # Bound below with SO_REUSEADDR, which on macOS succeeds beside a server on all addresses: ask whether anyone answers first.
        if probe.connect_ex((LOOPBACK, port)) == 0:
            return False
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def claims_folder() -> Path:
    """Where this user's supervisors note the ports they have chosen."""
    return Path(tempfile.gettempdir()) / f"headrace-ports-{os.getuid()}"


class Ports:
    """Chooses ports and keeps every choice its own until `close`."""

    def __init__(self, remembered: Mapping[str, int] | None = None, claims: Path | None = None) -> None:
        self._remembered = dict(remembered or {})
        self._claims = claims or claims_folder()
        self._chosen: dict[str, int] = {}
        self._files: list[int] = []

    @property
    def chosen(self) -> dict[str, int]:
        return dict(self._chosen)

    def choose(self, name: str) -> Choice:
        """A free port for `name`; raises `StackError` when none is found."""
        wanted = [port for port in (self._remembered.get(name), WELL_KNOWN.get(name)) if port is not None]
        for port in self._candidates(wanted):
            if port not in self._chosen.values() and is_free(port) and self._claim(port):
                self._chosen[name] = port
                return Choice(port, wanted[0] if wanted and port != wanted[0] else None)
        raise StackError(f"no free port for {name} on {LOOPBACK} in {TRIES} tries: end some of the servers on this machine and try again")

    @staticmethod
    def _candidates(wanted: list[int]) -> Iterator[int]:
        yield from wanted
        yield from random.sample(FREE_RANGE, TRIES)

    def _claim(self, port: int) -> bool:
        try:
            self._claims.mkdir(mode=0o700, exist_ok=True)
            file = os.open(self._claims / str(port), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            return True  # no folder for claims: the port was free a moment ago, which is as good as it gets
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            return False
        self._files.append(file)
        return True

    def close(self) -> None:
        """Give every claim back."""
        while self._files:
            with contextlib.suppress(OSError):
                os.close(self._files.pop())
