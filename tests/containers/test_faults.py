"""Containers killed and scaled under load: nothing is lost, nothing runs twice."""

from __future__ import annotations

import pytest

from tests.containers.load import load, more, nothing_lost
from tests.containers.world import World
from tests.support.eventually import eventually

pytestmark = pytest.mark.timeout(900)
REQUESTS = 25


@pytest.mark.parametrize("part", ["ingress", "workers", "notifier", "kafka", "postgres", "temporal", "s3"])
async def test_a_container_that_is_killed_under_load_loses_nothing(running: World, part: str) -> None:
    box = next(box for name, box in running.boxes.items() if name.split("-")[0] == part)
    async with load(running.settings) as sent:
        await eventually(more(sent, REQUESTS), timeout=60)
        await box.kill()
        if part != "kafka":  # without a broker nothing is acknowledged
            await eventually(more(sent, REQUESTS), timeout=60)
        await box.again()
        await eventually(more(sent, REQUESTS), timeout=120)
    await nothing_lost(running.settings, sent)


async def test_an_ingress_that_is_scaled_to_three_and_back_to_one_under_load_loses_nothing(running: World) -> None:
    first, second = [box for name, box in running.boxes.items() if name.startswith("ingress")][:2]
    assert await second.end() == 0
    async with load(running.settings) as sent:
        await eventually(more(sent, REQUESTS), timeout=60)
        third, fourth = [await running.start(running.service("ingress")) for _ in range(2)]
        await third.healthy()
        await fourth.healthy()
        await eventually(more(sent, REQUESTS), timeout=60)
        assert [await box.end() for box in (first, third)] == [0, 0]
        await eventually(more(sent, REQUESTS), timeout=60)
    await nothing_lost(running.settings, sent)
    assert (await fourth.state())["Status"] == "running"
