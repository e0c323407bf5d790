"""Commands: the record that asks for one, and the signal that it becomes."""

from typing import Annotated
from uuid import UUID

from pydantic import StringConstraints

from schemas.errors import MAX_MESSAGE
from schemas.names import Action
from schemas.request import EventId, Model, Request

COMMAND = "headrace.workflow.WorkflowCommandIssued"


class WorkflowCommandIssued(Request):
    """The record on `workflow.commands`. Nothing is completed by it: what it does shows in its target's completion."""

    target_event_id: EventId
    command: Action
    reason: Annotated[str, StringConstraints(max_length=MAX_MESSAGE)] = ""


class Command(Model):
    """The one argument of a signal.

    Temporal's SDK drops a signal whose argument it cannot read, without a trace: everything has a default.
    """

    event_id: UUID | None = None
    """The record's; a repeated delivery is known by it. None: sent by hand, and applied each time."""
    reason: str = ""


SeenCommands = tuple[UUID, ...]
"""The event IDs of the commands that a run has had, in the order of their arrival: a field of what a run hands over to the next."""
