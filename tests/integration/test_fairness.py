"""One user's burst and another's request, on the embedded stack's own Temporal: judged by who is drawn before whom, never by a clock."""

from __future__ import annotations

from collections.abc import Sequence

import pytest_asyncio
from temporalio.client import Client
from temporalio.common import Priority
from temporalio.service import RPCError, RPCStatusCode

from headrace import temporal
from headrace.settings import Settings
from schemas.ids import batch_child_id
from tests.support.eventually import eventually
from tests.support.image_runs import FakeStore, HeldBackend, start, start_batch, working
from tests.support.runs import FakeNotifier
from tests.support.temporal_namespace import in_namespace_of_its_own
from workers.image.activities import Picture
from workers.image.models import Drawing

HANDED_OUT = 3
"""Tasks that the server may have given away before the other user's came."""
ADA, BOB = Priority(priority_key=3, fairness_key="ada"), Priority(priority_key=3, fairness_key="bob")


@pytest_asyncio.fixture
async def client(settings: Settings) -> Client:
    return await temporal.connect(await in_namespace_of_its_own(settings))


async def all_wait(client: Client, runs: Sequence[str]) -> bool:
    """Whether each of these runs has an activity that waits for a slot, or has one."""
    try:
        described = [(await client.get_workflow_handle(run).describe()).raw_description for run in runs]
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return False  # a child that is still to be started
    return all(found.pending_activities for found in described)


def position(backend: HeldBackend, prompt: str) -> int:
    return 1 + backend.begun.index(prompt)


class HoldsAda(HeldBackend):
    """Draws Bob's at once."""

    async def generate(self, drawing: Drawing) -> Picture:
        if drawing.prompt.startswith("Ada"):
            return await super().generate(drawing)
        self.begun.append(drawing.prompt)
        return Picture(drawing.prompt.encode(), "image/png", 2, 2, "fake")


async def test_a_batch_in_all_its_slots_does_not_hold_a_single_image_back(client: Client) -> None:
    """Not one of the batch's images is done when the single one is: it has a queue of its own."""
    backend = HoldsAda()
    async with working(client, backend, FakeStore(), FakeNotifier(), slots=2):
        batch = await start_batch(client, [f"Ada {number}" for number in range(60)], ADA)
        await eventually(lambda: all_wait(client, [batch_child_id(batch.id, index) for index in range(20)]), timeout=60)
        single = await start(client, BOB, prompt="Bob")
        await single.result()
        progress: dict[str, int] = await batch.query("get_progress")
        assert (len(backend.begun), progress["done"], progress["in_flight"]) == (3, 0, 20)
        await batch.terminate()


async def test_the_children_of_two_batches_take_turns(client: Client) -> None:
    backend = HeldBackend()
    async with working(client, backend, FakeStore(), FakeNotifier(), slots=1):
        hers = await start_batch(client, [f"Ada {number}" for number in range(40)], ADA)
        await eventually(lambda: all_wait(client, [batch_child_id(hers.id, index) for index in range(20)]), timeout=60)
        his = await start_batch(client, [f"Bob {number}" for number in range(5)], BOB)
        await eventually(lambda: all_wait(client, [batch_child_id(his.id, index) for index in range(5)]), timeout=60)
        backend.release.set()
        await his.result()
        await hers.terminate()
    # Behind her twenty his last would be the twenty-fifth; in turns it takes twice its time alone.
    assert max(position(backend, f"Bob {number}") for number in range(5)) <= 2 * 5 + HANDED_OUT


async def test_a_burst_of_single_images_lets_another_users_pass(client: Client) -> None:
    backend = HeldBackend()
    async with working(client, backend, FakeStore(), FakeNotifier(), slots=1):
        burst = [await start(client, ADA, prompt=f"Ada {number}") for number in range(20)]
        await eventually(lambda: all_wait(client, [run.id for run in burst]), timeout=60)
        single = await start(client, BOB, prompt="Bob")
        await eventually(lambda: all_wait(client, [single.id]), timeout=60)
        backend.release.set()
        await single.result()
        for run in burst:
            await run.result()
    assert position(backend, "Bob") <= 2 + HANDED_OUT, "and not the twenty-first"
