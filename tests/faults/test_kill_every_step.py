"""`kill -9` of a worker in every step of every workflow: each run ends right, with one completion."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.settings import Settings
from tests.faults.killed_domains import DOMAINS
from tests.support.killing import Domain, kill_in_every_step


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """With the topics of every domain."""
    return settings.model_copy(update={"routes_file": None})


@pytest.mark.timeout(300)
@pytest.mark.parametrize("domain", DOMAINS, ids=lambda domain: domain.name)
async def test_a_worker_that_is_killed_in_a_step_costs_no_run_its_end(settings: Settings, tmp_path: Path, domain: type[Domain]) -> None:
    wrong = await kill_in_every_step(settings, tmp_path, domain())
    assert wrong == []
