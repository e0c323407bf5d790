"""Recorded histories are replayed: a change that breaks runs in flight fails here."""

from __future__ import annotations

from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from workers.registry import DOMAINS

HISTORIES = sorted((Path(__file__).parent / "histories").glob("*.json"))


def test_there_are_histories_to_replay() -> None:
    assert {history.stem.split("-")[0] for history in HISTORIES} == {"ImageGenerationWorkflow"}
    assert len(HISTORIES) >= 3


@pytest.mark.parametrize("recorded", HISTORIES, ids=lambda path: path.stem)
async def test_a_recorded_run_replays_on_todays_code(recorded: Path) -> None:
    replayer = Replayer(workflows=list(DOMAINS["image"].workflows), data_converter=pydantic_data_converter)
    history = WorkflowHistory.from_json("image-recorded", recorded.read_text())
    result = await replayer.replay_workflow(history, raise_on_replay_failure=False)
    assert result.replay_failure is None, "runs in flight would break: keep the old path behind workflow.patched"
