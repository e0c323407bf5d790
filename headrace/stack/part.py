"""What the supervisor must know of a part or service to run it, and how it asks whether one answers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from headrace.stack.state import Kind

OK = 200
# Variables of the user's shell that would change what a part does, or send a service to another Temporal than the embedded one.
PART_FOREIGN = ("TEMPORAL_", "HEADRACE_", "AWS_", "WEED_", "JAVA_", "JDK_", "_JAVA", "CLASSPATH", "KAFKA_", "LOG4J_", "XDG_")
# Versioned workers too: the embedded stack sets no version current, and its runs would wait.
SERVICE_FOREIGN = ("TEMPORAL_", "HEADRACE_KAFKA_", "HEADRACE_WORKER_DEPLOYMENT")


@dataclass(frozen=True)
class Part:
    """One process of the stack."""

    name: str
    kind: Kind
    address: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path
    """Its working folder."""
    ready: tuple[str, ...]
    """What must answer before it counts as started: `tcp://HOST:PORT`, or an HTTP address that gives 200."""
    health: str
    """What is asked later on."""
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 15.0
    emptied: Path | None = None
    """A folder that is removed before each of its starts."""
    faces: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Further lines of the status with this part's pid: name to (address, health)."""


def part_environment(home: Path, temporary: Path) -> dict[str, str]:
    """The environment of a server: nothing from the user's shell or home folder reaches its configuration."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PART_FOREIGN)}
    return {**kept, "HOME": str(home), "TMPDIR": str(temporary)}


def service_environment(addresses: Mapping[str, str]) -> dict[str, str]:
    """The environment of a service: the user's own, pointed at the embedded stack."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(SERVICE_FOREIGN)}
    # A profile in the user's Temporal configuration file (TLS, an API key) does not apply to the embedded server either.
    return {**kept, **addresses, "TEMPORAL_CONFIG_FILE": os.devnull}


async def answers(url: str, client: httpx.AsyncClient) -> bool:
    """Whether `tcp://HOST:PORT` accepts a connection, or an HTTP address gives 200."""
    if not url.startswith("tcp://"):
        with contextlib.suppress(httpx.HTTPError):
            return (await client.get(url)).status_code == OK
        return False
    host, port = url.removeprefix("tcp://").rsplit(":", 1)
    try:
        async with asyncio.timeout(1.0):
            _, writer = await asyncio.open_connection(host, int(port))
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


def local_client() -> httpx.AsyncClient:
    """A client for loopback addresses: no proxy, short timeouts."""
    return httpx.AsyncClient(timeout=httpx.Timeout(2.0), trust_env=False, verify=False)  # noqa: S501 - plain HTTP on loopback
