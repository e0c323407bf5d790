"""What the supervisor writes into the state folder, and what others read there: `state.json`, `env`, `ports.json`."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

S3_ACCESS_KEY_ID = "headrace"
S3_SECRET_ACCESS_KEY = "headrace-local"  # noqa: S105 - not a secret: it opens a server on loopback only

Kind = Literal["part", "service"]
KINDS: dict[str, Kind] = {"part": "part", "service": "service"}


@dataclass(frozen=True)
class Addresses:
    """Where the parts of a running stack answer."""

    kafka: str
    temporal: str
    temporal_ui: str
    s3: str
    database: Path

    def environment(self) -> dict[str, str]:
        """The variables that point a Headrace process at this stack."""
        return {
            "HEADRACE_KAFKA_BOOTSTRAP_SERVERS": self.kafka,
            "TEMPORAL_ADDRESS": self.temporal,
            "TEMPORAL_UI_ADDRESS": self.temporal_ui,
            "HEADRACE_S3_ENDPOINT_URL": self.s3,
            "HEADRACE_S3_ACCESS_KEY_ID": S3_ACCESS_KEY_ID,
            "HEADRACE_S3_SECRET_ACCESS_KEY": S3_SECRET_ACCESS_KEY,
            "HEADRACE_DATABASE_URL": f"sqlite+aiosqlite:///{self.database}",
        }


@dataclass(frozen=True)
class PartState:
    """One line of `headrace status`."""

    part: str
    pid: int | None
    """None while it waits to be started again."""
    address: str
    kind: Kind
    health: str
    """`tcp://HOST:PORT`, or an HTTP address that answers 200 when all is well."""
    log: str
    ready: bool
    """Whether it has answered since it was started."""


@dataclass(frozen=True)
class Snapshot:
    """The whole of `state.json`."""

    supervisor: int
    group: int
    """The process group that holds every part; 0 before it exists."""
    ready: bool
    """Whether everything was started and answered."""
    parts: tuple[PartState, ...] = ()


class StateFolder:
    """The names of the files in one state folder."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.data = self.path / "data"
        self.logs = self.path / "logs"
        self.temporary = self.path / "tmp"
        self.database = self.path / "headrace.db"
        self.supervisor_lock = self.path / "supervisor.lock"
        self.parts_lock = self.path / "parts.lock"
        self.state = self.path / "state.json"
        self.env = self.path / "env"
        self.ports = self.path / "ports.json"
        self.supervisor_log = self.logs / "supervisor.log"

    def make(self) -> None:
        """The folders. A new one is for this user alone: databases, logs and keys of the parts lie in it. Raises `OSError`."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.data, self.logs, self.temporary):
            folder.mkdir(exist_ok=True)

    def write_snapshot(self, snapshot: Snapshot) -> None:
        write_atomically(self.state, json.dumps(asdict(snapshot), indent=2) + "\n")

    def read_snapshot(self) -> Snapshot | None:
        """What the last supervisor wrote; None when there is nothing, or nothing that can be read."""
        try:
            raw = json.loads(self.state.read_text("utf-8"))
            parts = tuple(PartState(**{**part, "kind": KINDS[part["kind"]]}) for part in raw["parts"])
            return Snapshot(int(raw["supervisor"]), int(raw["group"]), bool(raw["ready"]), parts)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write_env(self, environment: Mapping[str, str]) -> None:
        write_atomically(self.env, "".join(f"{name}={value}\n" for name, value in environment.items()))

    def write_ports(self, ports: Mapping[str, int]) -> None:
        write_atomically(self.ports, json.dumps(dict(ports), indent=2) + "\n")

    def read_ports(self) -> dict[str, int]:
        try:
            raw = json.loads(self.ports.read_text("utf-8"))
            return {str(name): int(port) for name, port in raw.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}

    def forget_running(self) -> None:
        """Remove what is only true while the stack runs."""
        for file in (self.state, self.env):
            file.unlink(missing_ok=True)


def write_atomically(file: Path, text: str) -> None:
    """Readers see the old text or the new one, never a part of it."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.touch(mode=0o600)  # before there is anything in it
    temporary.write_text(text, "utf-8")
    temporary.replace(file)


def tail(log: Path, lines: int = 8) -> str:
    """The last lines of a log that say something (Java's stack frames do not), for an error's text."""
    with contextlib.suppress(OSError):
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16384))
            found = [line for line in file.read().decode("utf-8", "replace").splitlines() if not line.startswith("\tat ")]
        return "\n".join(line[:400] for line in found[-lines:])
    return ""
