"""Recorded histories are replayed: a change that breaks runs in flight fails here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer
from temporalio.workflow import _Definition

from notifier.reconcile.workflow import ReconcileCompletions
from notifier.redriving import WORKFLOWS as REDRIVING
from tests.replay.record import CASES
from workers.registry import DOMAINS

HISTORIES = sorted((Path(__file__).parent / "histories").glob("*.json"))


DOMAINS_OWN = {workflow for domain in DOMAINS.values() for workflows in domain.queues.values() for workflow in workflows}
WORKFLOWS = [*DOMAINS_OWN, *REDRIVING, ReconcileCompletions]


def test_every_workflow_has_histories_of_each_of_its_cases() -> None:
    recorded = {tuple(history.stem.rsplit("-", 1)[0].split("-", 1)) for history in HISTORIES}
    assert recorded == {(workflow, case) for workflow, cases in CASES.items() for case in cases}
    assert set(CASES) == {definition.name for workflow in WORKFLOWS if (definition := _Definition.from_class(workflow))}


@pytest.mark.parametrize("recorded", HISTORIES, ids=lambda path: path.stem)
async def test_a_recorded_run_replays_on_todays_code(recorded: Path) -> None:
    replayer = Replayer(workflows=WORKFLOWS, data_converter=pydantic_data_converter)
    text = recorded.read_text()
    # Its own ID: those of its children are made of it.
    started = json.loads(text)["events"][0]["workflowExecutionStartedEventAttributes"]
    history = WorkflowHistory.from_json(started["workflowId"], text)
    result = await replayer.replay_workflow(history, raise_on_replay_failure=False)
    assert result.replay_failure is None, "runs in flight would break: keep the old path behind workflow.patched"
