"""Recorded histories are replayed: a change that breaks runs in flight fails here.

Whole ones: the SDK's replayer does not go on from where a history ends, so one that is cut shows nothing more.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer
from temporalio.workflow import _Definition

from notifier.reconcile.workflow import ReconcileCompletions
from notifier.redriving import WORKFLOWS as REDRIVING
from tests.replay import record
from tests.replay.record import CASES
from workers.__main__ import sandbox
from workers.registry import DOMAINS

HISTORIES = sorted(record.FOLDER.glob("*.json"))
BROKEN = "runs in flight would break: keep the old path behind workflow.patched"


DOMAINS_OWN = {workflow for domain in DOMAINS.values() for workflows in domain.queues.values() for workflow in workflows}
WORKFLOWS = [*DOMAINS_OWN, *REDRIVING, ReconcileCompletions]


def replayer() -> Replayer:
    return Replayer(workflows=WORKFLOWS, data_converter=pydantic_data_converter, workflow_runner=sandbox())


def history(events: list[dict[str, Any]]) -> WorkflowHistory:
    """Under the run's own ID: those of its children are made of it."""
    started = events[0]["workflowExecutionStartedEventAttributes"]
    return WorkflowHistory.from_json(started["workflowId"], {"events": events})


def events_of(recorded: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(recorded.read_text())["events"]
    return found


def test_every_workflow_has_histories_of_each_of_its_cases() -> None:
    recorded = {tuple(history.stem.rsplit("-", 1)[0].split("-", 1)) for history in HISTORIES}
    assert recorded == {(workflow, case) for workflow, cases in CASES.items() for case in cases}
    assert set(CASES) == {definition.name for workflow in WORKFLOWS if (definition := _Definition.from_class(workflow))}


def test_a_history_that_was_recorded_stays_as_it_was() -> None:
    """Runs of every version that somebody upgrades from are in flight: an old history is what holds today's code to them."""
    found = {recorded.name: hashlib.sha256(recorded.read_bytes()).hexdigest() for recorded in HISTORIES}
    assert found == record.sums(), "what SHA256SUMS names is neither changed nor removed; `python -m tests.replay.record` adds to it"


@pytest.mark.parametrize("recorded", HISTORIES, ids=lambda path: path.stem)
async def test_a_recorded_run_replays_on_todays_code(recorded: Path) -> None:
    result = await replayer().replay_workflow(history(events_of(recorded)), raise_on_replay_failure=False)
    assert result.replay_failure is None, BROKEN
