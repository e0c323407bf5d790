"""The mixin without a server: what is applied, and what is not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.command import Command, WorkflowCommandIssued
from schemas.names import Action
from workers.commands import TakesCommands

FIELDS: dict[str, Any] = {
    "event_id": uuid4(),
    "user_id": "operator",
    "requested_at": datetime(2026, 1, 1, tzinfo=UTC),
    "target_event_id": uuid4(),
    "command": "pause",
}
IDS = [UUID(int=number) for number in range(1, 6)]


def test_a_repeated_command_is_applied_once() -> None:
    run, command = TakesCommands(), Command(event_id=uuid4())
    assert [run.accept(command), run.accept(command), run.accept(Command(event_id=uuid4()))] == [True, False, True]


def test_a_repetition_is_known_by_its_event_id_alone() -> None:
    run, event_id = TakesCommands(), uuid4()
    assert run.accept(Command(event_id=event_id, reason="in some words"))
    assert not run.accept(Command(event_id=event_id, reason="in others"))


@pytest.mark.parametrize("by_hand", [None, Command(), Command(reason="enough")])
def test_a_signal_by_hand_is_applied_each_time(by_hand: Command | None) -> None:
    run = TakesCommands()
    assert run.accept(by_hand)
    assert run.accept(by_hand)
    assert run.commands == ()


@given(st.lists(st.one_of(st.sampled_from(IDS), st.none(), st.just("continue as new")), max_size=40))
def test_every_command_is_applied_once_however_often_the_run_continues_as_new(story: list[UUID | str | None]) -> None:
    run, applied = TakesCommands(), []
    for step in story:
        if isinstance(step, str):
            after = TakesCommands()
            after.take_over(run.commands)
            run = after
        elif run.accept(Command(event_id=step)):
            applied.append(step)
    delivered = [step for step in story if isinstance(step, UUID)]
    assert [each for each in applied if each is not None] == list(dict.fromkeys(delivered))
    assert applied.count(None) == story.count(None)
    assert run.commands == tuple(dict.fromkeys(delivered))


def test_two_runs_of_one_process_share_nothing() -> None:
    command = Command(event_id=uuid4())
    assert TakesCommands().accept(command)
    assert TakesCommands().accept(command)


def test_a_newer_ingress_is_understood_by_an_older_worker() -> None:
    """Temporal's SDK drops a signal that cannot be read: the command would be lost without a trace."""
    assert Command.model_validate({"reason": "why", "asked_by": "tomorrow's ingress"}) == Command(reason="why")


@pytest.mark.parametrize(
    "wrong", [{"command": "terminate"}, {"command": ""}, {"target_event_id": UUID(int=0)}, {"reason": "x" * 1001}, {"target_event_id": "x"}]
)
def test_what_is_no_command_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        WorkflowCommandIssued.model_validate({**FIELDS, **wrong})


def test_the_names_of_the_signals_are_those_of_the_reference() -> None:
    assert [action.value for action in Action] == ["pause", "resume", "cancel"]
