"""Headrace's own processes, as the stack runs them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from headrace.settings import STATE_DIR_VARIABLE
from headrace.stack.part import Part, service_environment
from headrace.stack.ports import LOOPBACK
from headrace.stack.state import Addresses, StateFolder

NAMES = ("ingress", "workers", "notifier")
PORTS = tuple(f"{name}-health" for name in NAMES)


def services(state: StateFolder, addresses: Addresses, ports: Mapping[str, int]) -> list[Part]:
    """Each in the folder of the supervisor, ready when it says so itself."""
    return [_service(name, state, addresses, ports[f"{name}-health"]) for name in NAMES]


def _service(name: str, state: StateFolder, addresses: Addresses, port: int) -> Part:
    address = f"http://{LOOPBACK}:{port}"
    own = {**addresses.environment(), "HEADRACE_HEALTH_PORT": str(port), STATE_DIR_VARIABLE: str(state.path)}
    return Part(
        name=name,
        kind="service",
        address=address,
        command=(sys.executable, "-P", "-m", name),
        environment=service_environment(own),
        folder=Path.cwd(),
        ready=(f"{address}/readyz",),
        health=f"{address}/readyz",
        stop_seconds=15.0,
    )
