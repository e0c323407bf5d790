"""Every accepted event is told its end once, whatever ends its run and whoever dies meanwhile; `tests.faults.completions` does more."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.settings import Settings
from tests.faults import ended

RUNS = 150


@pytest.mark.timeout(240)
async def test_no_completion_is_missing_or_double_when_runs_are_ended_from_outside_and_their_tellers_killed(
    settings: Settings, tmp_path: Path
) -> None:
    tally = await ended.run(settings, RUNS, tmp_path)
    assert (tally.missing, tally.duplicates, tally.contradictions, tally.wrong) == ([], [], [], []), "\n".join(tally.lines())
    assert {how for how, _ in tally.told} == {"left alone", *ended.HOW}
    assert tally.kills, "nobody died: nothing was tried"
    print("\n".join(tally.lines()))  # noqa: T201
