"""What crosses processes through Temporal, held against every history that was recorded: an older writer, and a newer one.

The recorded payloads are the golden ones of their versions, as those of `tests/contract/golden` are for Avro.
"""

from __future__ import annotations

import base64
import importlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import pydantic_data_converter

from schemas.completion import OpenResult
from schemas.redrive import RunSelection, Selection
from schemas.request import Model, OpenRequest
from tests.replay.test_replay import BROKEN, HISTORIES, WORKFLOWS, events_of, history, replayer
from workers.registry import DOMAINS

CLOSED: set[type[Model]] = {Selection, RunSelection}
"""What narrows: an older reader may not read past a filter. It refuses, and Temporal asks again."""
KEEPING: set[type[Model]] = {OpenRequest, OpenResult}
"""What a team's own schema has, of which Headrace knows nothing."""

_MODULES = [
    *(f"workers.{domain}.activities" for domain in DOMAINS),
    *(f"notifier.{module}" for module in ("publish", "history", "reconcile.activities", "redrive.activities", "rerun.activities")),
]


def _activities() -> dict[str, list[Any]]:
    """The types of the arguments of each activity, by its name."""
    members = [member for module in _MODULES for kind in vars(importlib.import_module(module)).values() for member in _functions(kind)]
    definitions = [found for member in members if (found := activity._Definition.from_callable(member))]
    return {found.name: found.arg_types or [] for found in definitions if found.name}


def _functions(kind: Any) -> list[Callable[..., Any]]:
    return [member for member in vars(kind).values() if callable(member)] if isinstance(kind, type) else []


ARGUMENTS = _activities()


def models(model: type[Model] = Model) -> Iterator[type[Model]]:
    for each in model.__subclasses__():
        yield each
        yield from models(each)


def payloads(attributes: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Those of an event's arguments and results; also of a local activity, whose result is in a marker."""
    found = [attributes.get("input"), attributes.get("result"), attributes.get("details", {}).get("result")]
    for each in found:
        yield from (each or {}).get("payloads", [])


def newer(value: Any) -> Any:
    """As a newer version may write it: with a field more in everything but what narrows."""
    if isinstance(value, dict):
        return {**{name: inner if name == "selection" else newer(inner) for name, inner in value.items()}, "of_a_newer_version": 1}
    return [newer(inner) for inner in value] if isinstance(value, list) else value


def of_a_newer_version(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for event in events:
        for name, attributes in event.items():
            if name.endswith("Attributes"):
                for payload in payloads(attributes):
                    read = json.loads(base64.b64decode(payload["data"])) if payload.get("data") else None
                    payload["data"] = base64.b64encode(json.dumps(newer(read)).encode()).decode() if read is not None else ""
    return events


@pytest.mark.parametrize("written", [events_of, lambda path: of_a_newer_version(events_of(path))], ids=["as it was", "newer"])
@pytest.mark.parametrize("recorded", HISTORIES, ids=lambda path: path.stem)
async def test_an_activity_reads_the_arguments_of_another_version(recorded: Path, written: Callable[[Path], list[dict[str, Any]]]) -> None:
    for event in written(recorded):
        scheduled = event.get("activityTaskScheduledEventAttributes")
        if scheduled is not None:
            given = [
                Payload(metadata={"encoding": base64.b64decode(each["metadata"]["encoding"])}, data=base64.b64decode(each["data"]))
                for each in payloads(scheduled)
            ]
            types = ARGUMENTS[scheduled["activityType"]["name"]]
            assert len(given) == len(types)
            for value, wanted in zip(await pydantic_data_converter.decode(given, types), types, strict=True):
                assert isinstance(value, wanted)


@pytest.mark.parametrize("recorded", HISTORIES, ids=lambda path: path.stem)
async def test_a_workflow_reads_arguments_results_and_signals_of_a_newer_version(recorded: Path) -> None:
    newer_history = history(of_a_newer_version(events_of(recorded)))
    result = await replayer().replay_workflow(newer_history, raise_on_replay_failure=False)
    assert result.replay_failure is None, BROKEN


def test_nothing_that_crosses_temporal_refuses_a_field_of_a_newer_version() -> None:
    """While a fleet is upgraded both versions are in it: what refuses a new field lets runs fail, or wait until the last is replaced."""
    assert WORKFLOWS  # imported: with them all of their models
    refuse = {model for model in models() if model.model_config.get("extra") == "forbid" and model.__module__.split(".")[0] != "tests"}
    keep = {model for model in models() if model.model_config.get("extra") == "allow" and model.__module__.startswith("schemas")}
    assert refuse == CLOSED
    assert {model for model in keep if not any(base in KEEPING for base in model.__mro__[1:])} == KEEPING
