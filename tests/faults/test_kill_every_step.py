"""`kill -9` of a worker in every step of every workflow: each run ends right, with one completion."""

from __future__ import annotations

from pathlib import Path

import pytest
from temporalio import workflow

from headrace.settings import Settings
from tests.faults.killed_domains import SIDE_BY_SIDE
from tests.support.killing import Domain, kill_in_every_step
from workers.registry import DOMAINS


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """With the topics of every domain."""
    return settings.model_copy(update={"routes_file": None})


@pytest.mark.timeout(300)
@pytest.mark.parametrize("domains", SIDE_BY_SIDE, ids=lambda domains: "-".join(domain.name for domain in domains))
async def test_a_worker_that_is_killed_in_a_step_costs_no_run_its_end(
    settings: Settings, tmp_path: Path, domains: tuple[type[Domain], ...]
) -> None:
    wrong = await kill_in_every_step(settings, tmp_path, [domain() for domain in domains])
    assert wrong == []


def test_no_workflow_is_left_out() -> None:
    killed = {row.workflow for domains in SIDE_BY_SIDE for domain in domains for row in domain().rows}
    assert killed == {
        workflow._Definition.must_from_class(each).name for domain in DOMAINS.values() for queue in domain.queues.values() for each in queue
    }
