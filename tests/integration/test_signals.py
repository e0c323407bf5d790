"""Commands on a real Temporal server: which run gets one, how often it is applied, and what its answers mean."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

from headrace import kafka, setup, temporal
from headrace.cli.command import send
from headrace.cli.errors import CommandError, Exit
from headrace.producer import RequestProducer
from headrace.settings import Settings
from headrace.wire import Wire
from ingress.disposition import Signalled
from ingress.errors import NotSetUp
from ingress.signal import Signaller
from schemas.catalog import Catalog, shipped
from schemas.command import COMMAND, Command, WorkflowCommandIssued
from schemas.errors import Reason, Rejected, Transient
from schemas.names import Action
from schemas.routes import load_routes
from tests.support.commanded import DynamicCommands, State, StaticCommands
from tests.support.eventually import eventually

IMAGE = "headrace.image.ImageGenerationRequested"
DOMAINS = ["analysis", "image"]
WIRE = Wire(Catalog(shipped()))


@dataclass(frozen=True)
class Row:
    """What the ledger would have."""

    disposition: str
    record: str = IMAGE
    workflow_id: str | None = None


@dataclass
class Rows:
    """The ledger's port, on a dictionary."""

    rows: dict[UUID, Row] = field(default_factory=dict)

    async def find(self, event_id: UUID) -> Row | None:
        return self.rows.get(event_id)


@dataclass
class Clock:
    """Sleeps for no time, and tells how long it would have been; `then` happens when it has reached a time."""

    now: float = 0.0
    pauses: list[float] = field(default_factory=list)
    then: dict[float, Any] = field(default_factory=dict)

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds
        for time in [time for time in self.then if time <= self.now]:
            happening = self.then.pop(time)()
            if asyncio.iscoroutine(happening):
                await happening


@pytest_asyncio.fixture
async def client(settings: Settings) -> Client:
    return await temporal.connect(settings, own_retries=False)


@contextlib.asynccontextmanager
async def worker(client: Client, queue: str) -> AsyncIterator[None]:
    # The sandbox as it is: nothing of ours is passed through by the worker.
    async with Worker(client, task_queue=queue, workflows=[StaticCommands, DynamicCommands]):
        yield


async def started(client: Client, queue: str, state: State | None = None, workflow: type = StaticCommands) -> WorkflowHandle[Any, State]:
    handle: WorkflowHandle[Any, State] = await client.start_workflow(
        workflow.__name__, state or State(), id=f"image-{uuid4()}", task_queue=queue, result_type=State
    )
    return handle


def issued(target: WorkflowHandle[Any, Any] | UUID, action: Action = Action.PAUSE, reason: str = "") -> WorkflowCommandIssued:
    return WorkflowCommandIssued(
        event_id=uuid4(),
        user_id="operator",
        requested_at=datetime.now(UTC),
        target_event_id=target if isinstance(target, UUID) else event_id(target),
        command=action,
        reason=reason,
    )


def event_id(handle: WorkflowHandle[Any, Any]) -> UUID:
    return UUID(handle.id.removeprefix("image-"))


def signaller(client: Client, rows: Rows, clock: Clock | None = None, *, wait_seconds: float = 30.0) -> Signaller:
    return Signaller(client, rows.find, DOMAINS, 5.0, wait_seconds, sleep=(clock or Clock()).sleep)


def known(*handles: WorkflowHandle[Any, Any]) -> Rows:
    return Rows({event_id(handle): Row("started", workflow_id=handle.id) for handle in handles})


async def signals_in(handle: WorkflowHandle[Any, Any]) -> int:
    return sum([event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED async for event in handle.fetch_history_events()])


async def turned_over(handle: WorkflowHandle[Any, Any], runs: int) -> None:
    await handle.signal("turn_over")

    async def is_there() -> bool:
        return bool(await handle.query("runs") == runs)

    await eventually(is_there)


async def test_the_same_command_delivered_twice_is_applied_once(client: Client) -> None:
    queue = f"q-{uuid4()}"
    async with worker(client, queue):
        handle = await started(client, queue)
        current = client.get_workflow_handle(handle.id)
        command = issued(handle, reason="lunch")
        given = [await signaller(client, known(handle)).signal(command) for _ in range(3)]
        await handle.signal("end")
        result = await handle.result()
    assert result.applied == ("pause:lunch",)
    assert given == [Signalled(command.event_id, handle.id, handle.first_execution_run_id)] * 3
    assert await signals_in(current) == 2, "the server has put a repetition into the history"


@pytest.mark.parametrize("workflow", [StaticCommands, DynamicCommands])
async def test_a_repeated_command_is_applied_once_across_continue_as_new(client: Client, workflow: type) -> None:
    """A new run does not know the request ID of the signals of the one before it: only the set that was handed over helps."""
    queue = f"q-{uuid4()}"
    async with worker(client, queue):
        handle = await started(client, queue, workflow=workflow)
        current = client.get_workflow_handle(handle.id)
        signals = signaller(client, known(handle))
        first, second = issued(handle, Action.PAUSE, "1"), issued(handle, Action.RESUME, "2")
        for runs, commands in enumerate([[first], [first, second], [second, first, second]], start=2):
            for command in commands:
                last = await signals.signal(command)
            await turned_over(current, runs)
        await current.signal("end")
        result = await handle.result(follow_runs=True)
    assert result.applied == (
        "pause:1",
        "resume:2",
    )
    assert result.commands == (first.event_id, second.event_id)
    assert last.run_id not in (None, handle.first_execution_run_id), "not the run that took the signal"


@pytest.mark.parametrize("workflow", [StaticCommands, DynamicCommands])
async def test_a_repetition_that_is_there_before_the_first_step_of_a_run_is_not_applied(client: Client, workflow: type) -> None:
    """The SDK gives a run its signals before it calls `run`."""
    queue, had = f"q-{uuid4()}", uuid4()
    handle = await started(client, queue, State(applied=("pause:before",), commands=(had,)), workflow)
    await handle.signal("pause", Command(event_id=had, reason="again"))
    await handle.signal("resume", Command(event_id=uuid4(), reason="new"))
    await handle.signal("end")
    async with worker(client, queue):
        result = await handle.result()
    assert result.applied == (
        "pause:before",
        "resume:new",
    )


async def test_another_senders_repetition_is_applied_once_too(client: Client) -> None:
    """Each call of the client draws a request ID: the server takes both signals, the workflow one."""
    queue, command = f"q-{uuid4()}", Command(event_id=uuid4())
    async with worker(client, queue):
        handle = await started(client, queue)
        for _ in range(2):
            await handle.signal("pause", command)
        await handle.signal("end")
        assert (await handle.result()).applied == ("pause:",)
    assert await signals_in(handle) == 3


@pytest.mark.parametrize("workflow", [StaticCommands, DynamicCommands])
async def test_a_signal_by_hand_without_an_argument_works(client: Client, workflow: type) -> None:
    queue = f"q-{uuid4()}"
    async with worker(client, queue):
        handle = await started(client, queue, workflow=workflow)
        await handle.signal("pause")
        await handle.signal("resume", {})
        await handle.signal("resume", {"reason": "typed in the UI"})
        await handle.signal("pause", {"reason": "as above", "made_up": 1})
        await handle.signal("pause")
        await handle.signal("end")
        result = await handle.result()
    assert result.applied == (
        "pause:",
        "resume:",
        "resume:typed in the UI",
        "pause:as above",
        "pause:",
    )


async def test_a_repeated_cancel_of_a_run_that_it_has_ended_is_no_dead_letter(client: Client) -> None:
    """The ingress dies between the signal and its note of it; when it is back the run has done as it was told."""
    queue = f"q-{uuid4()}"
    async with worker(client, queue):
        handle = await started(client, queue)
        command = issued(handle, Action.CANCEL)
        first = await signaller(client, known(handle)).signal(command)
        assert (await handle.result()).applied == ("cancel:",)
        assert await signaller(client, known(handle)).signal(command) == first


async def test_a_command_that_overtakes_its_request_waits_and_is_given(client: Client) -> None:
    handle = await started(client, f"q-{uuid4()}")
    target, rows, clock = event_id(handle), Rows(), Clock()
    clock.then = {
        3.0: lambda: rows.rows.update({target: Row("pending")}),
        4.5: lambda: rows.rows.update({target: Row("started", workflow_id=handle.id)}),
    }
    given = await signaller(client, rows, clock).signal(issued(handle))
    assert given.workflow_id == handle.id
    assert 4.5 <= clock.now < 6
    assert await signals_in(handle) == 1
    assert clock.pauses[:5] == [0.1, 0.2, 0.4, 0.8, 1.0]
    await handle.terminate()


async def test_a_run_that_the_ledger_never_knew_gets_its_command(client: Client) -> None:
    handle, clock = await started(client, f"q-{uuid4()}"), Clock()
    assert (await signaller(client, Rows(), clock, wait_seconds=2).signal(issued(handle))).workflow_id == handle.id
    assert clock.now == 2
    await handle.terminate()


async def test_a_run_whose_row_was_never_settled_gets_its_command(client: Client) -> None:
    """Started, and then the ingress died."""
    handle, clock = await started(client, f"q-{uuid4()}"), Clock()
    rows = Rows({event_id(handle): Row("pending")})
    assert (await signaller(client, rows, clock).signal(issued(handle))).workflow_id == handle.id
    assert clock.now < 10
    await handle.terminate()


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (None, "no request of that event ID came within 30 s"),
        (Row("pending"), "ImageGenerationRequested was read, but has not been started within 30 s"),
        (Row("rejected"), "ImageGenerationRequested was dead-lettered within 30 s"),
    ],
)
async def test_a_target_that_does_not_come_is_waited_for_no_longer_than_it_may(client: Client, row: Row | None, says: str) -> None:
    target, clock = uuid4(), Clock()
    with pytest.raises(Rejected, match=says) as refused:
        await signaller(client, Rows({target: row} if row else {}), clock).signal(issued(target))
    assert refused.value.reason is Reason.UNKNOWN_TARGET
    assert clock.now == pytest.approx(30)
    assert max(clock.pauses) <= 1


async def test_without_patience_an_unknown_target_is_refused_at_once(client: Client) -> None:
    clock = Clock()
    with pytest.raises(Rejected, match="unknown_target"):
        await signaller(client, Rows(), clock, wait_seconds=0).signal(issued(uuid4()))
    assert clock.pauses == []


@pytest.mark.parametrize("disposition", ["pending", "signalled", "rejected"])
async def test_a_command_to_a_command_is_refused_at_once(client: Client, disposition: str) -> None:
    command, clock = issued(uuid4()), Clock()
    rows = Rows({command.target_event_id: Row(disposition, COMMAND)})
    with pytest.raises(Rejected, match="is that of a command: a command is for the event of a request") as refused:
        await signaller(client, rows, clock).signal(command)
    assert refused.value.reason is Reason.UNKNOWN_TARGET
    assert clock.pauses == []


async def test_a_command_to_itself_does_not_wait_for_itself(client: Client) -> None:
    command, clock = issued(uuid4()), Clock()
    itself = command.model_copy(update={"target_event_id": command.event_id})
    with pytest.raises(Rejected, match="this command itself"):
        await signaller(client, Rows({command.event_id: Row("pending", COMMAND)}), clock).signal(itself)
    assert clock.pauses == []


@pytest.mark.parametrize("row", ["started", "pending", None])
async def test_a_target_that_has_ended_is_closed_whatever_the_ledger_knows(client: Client, row: str | None) -> None:
    handle = await started(client, f"q-{uuid4()}")
    await handle.terminate()
    rows = Rows({event_id(handle): Row(row, workflow_id=handle.id if row == "started" else None)} if row else {})
    with pytest.raises(Rejected, match=f"{handle.id} has ended") as refused:
        await signaller(client, rows).signal(issued(handle))
    assert refused.value.reason is Reason.TARGET_CLOSED


async def test_a_target_that_temporal_has_forgotten_is_closed(client: Client) -> None:
    """As after its retention, for which this server would need half a minute: a start that the ledger has and Temporal has not."""
    target, clock = uuid4(), Clock()
    with pytest.raises(Rejected, match="Temporal knows it no more: it has ended and its retention is over") as refused:
        await signaller(client, Rows({target: Row("started", workflow_id=f"image-{target}")}), clock).signal(issued(target))
    assert refused.value.reason is Reason.TARGET_CLOSED
    assert clock.pauses == []


async def test_a_missing_namespace_is_not_the_targets_end(settings: Settings) -> None:
    client = await temporal.connect(settings.model_copy(update={"temporal_namespace": "nowhere"}), own_retries=False)
    target = uuid4()
    with pytest.raises(NotSetUp, match="no such namespace"):
        await signaller(client, Rows({target: Row("started", workflow_id=f"image-{target}")})).signal(issued(target))


@pytest.mark.parametrize("row", ["started", "pending", None])
async def test_while_temporal_is_away_no_command_is_refused(settings: Settings, row: str | None) -> None:
    away = settings.model_copy(update={"temporal_address": "127.0.0.1:1"})
    client = await temporal.connect(away, lazy=True, own_retries=False)
    target = uuid4()
    rows = Rows({target: Row(row, workflow_id=f"image-{target}" if row == "started" else None)} if row else {})
    with pytest.raises(Transient):
        await signaller(client, rows).signal(issued(target))


async def test_an_outage_during_the_wait_does_not_use_it_up(client: Client, settings: Settings) -> None:
    """Temporal away holds the request back as well; back after 29 of 30 seconds it must find the command still waiting."""
    away = await temporal.connect(settings.model_copy(update={"temporal_address": "127.0.0.1:1"}), lazy=True, own_retries=False)
    clock = Clock()
    with pytest.raises(Transient):
        await signaller(away, Rows(), clock).signal(issued(uuid4()))
    assert clock.now < 10
    again = Clock()
    with pytest.raises(Rejected, match="unknown_target"):
        await signaller(client, Rows(), again).signal(issued(uuid4()))
    assert again.now == pytest.approx(30)


async def test_a_wait_ends_when_it_is_cancelled(client: Client) -> None:
    waiting = asyncio.create_task(Signaller(client, Rows().find, DOMAINS, 5.0, 600.0).signal(issued(uuid4())))
    await asyncio.wait([waiting], timeout=0.3)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(waiting, 1)


async def read(settings: Settings, count: int) -> list[tuple[bytes, WorkflowCommandIssued]]:
    """Key and command of so many records."""
    consumer = kafka.consumer(settings, f"{settings.topic_prefix}workflow.commands")
    await consumer.start()
    try:
        records = [await asyncio.wait_for(consumer.getone(), 10) for _ in range(count)]
    finally:
        await consumer.stop()
    decoded = [await WIRE.decode(record.value) for record in records]
    assert {each.record for each in decoded} == {COMMAND}
    return [(record.key, WorkflowCommandIssued.model_validate(each.value)) for record, each in zip(records, decoded, strict=True)]


async def test_commands_of_one_target_share_a_partition_and_keep_their_order(settings: Settings) -> None:
    await setup._topics(settings, load_routes(settings.routes_file), lambda _: None)
    target = uuid4()
    sent = [issued(target, action) for action in (Action.PAUSE, Action.RESUME, Action.CANCEL)]
    async with RequestProducer(settings, WIRE) as producer:
        for command in sent:
            await producer.send(command)
    found = await read(settings, len(sent))
    assert {key for key, _ in found} == {str(target).encode()}
    assert [(each.event_id, each.command) for _, each in found] == [(each.event_id, each.command) for each in sent]


async def test_the_command_line_sends_a_command_and_prints_its_event_id(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    await setup._topics(settings, load_routes(settings.routes_file), lambda _: None)
    target = uuid4()
    await send(settings, Action.CANCEL, target, reason="a typo in the prompt", user="the night shift")
    [(key, command)] = await read(settings, 1)
    assert capsys.readouterr().out.strip() == str(command.event_id)
    assert key == str(target).encode()
    assert (command.target_event_id, command.command, command.reason) == (target, "cancel", "a typo in the prompt")
    assert command.user_id == "the night shift"


async def test_the_command_line_tells_a_mistake_from_an_outage(settings: Settings) -> None:
    with pytest.raises(CommandError, match="reason: String should have at most 1000 characters") as wrong:
        await send(settings, Action.PAUSE, uuid4(), reason="x" * 1001, user=None)
    assert wrong.value.code == Exit.USAGE
    with pytest.raises(CommandError, match="the nil UUID identifies nothing") as nil:
        await send(settings, Action.PAUSE, UUID(int=0), reason="", user=None)
    assert nil.value.code == Exit.USAGE
    away = settings.model_copy(update={"kafka_bootstrap_servers": "127.0.0.1:1"})
    with pytest.raises(CommandError, match=r"Kafka at 127\.0\.0\.1:1 does not take the request") as down:
        await send(away, Action.PAUSE, uuid4(), reason="", user=None)
    assert down.value.code == Exit.UNREACHABLE
