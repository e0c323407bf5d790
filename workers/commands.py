"""Pause, resume, cancel: what a workflow needs so that a command that is delivered twice is applied once."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from temporalio import workflow
from temporalio.common import RawValue

with workflow.unsafe.imports_passed_through():
    from schemas.command import Command, SeenCommands


class TakesCommands:
    """Mixin of a workflow that takes commands. It needs no `super().__init__()`.

        @workflow.signal
        def pause(self, command: Command | None = None) -> None:
            if self.accept(command):
                self._paused = True

    A workflow that continues as new hands the commands it has had to its next run, in a field `commands: SeenCommands = ()` of its input:

        @workflow.init
        def __init__(self, given: Input) -> None:
            self.take_over(given.commands)
        ...
        workflow.continue_as_new(Input(..., commands=self.commands))

    In `__init__` and not in `run`: Temporal gives a run the signals that were there before it first, and one of them may be a repetition.

    No ID is ever forgotten, since a repetition may come at any time: an ingress that died between the signal and its note of it gives the
    command again whenever it is back. That stays small: the server takes 10,000 signals for a run, and an ID is 39 bytes of the next
    run's input, of which Temporal takes 2 MiB, so a chain of runs has room for 50,000 commands.
    """

    _commands: dict[UUID, None]  # a set that keeps its order: what is handed over is the same in every replay

    def accept(self, command: Command | None = None) -> bool:
        """Whether this delivery is to be applied: the first of its event ID, or one sent by hand, which has none."""
        if command is None or command.event_id is None:
            return True
        seen = self._seen()
        if command.event_id in seen:
            return False
        seen[command.event_id] = None
        return True

    @property
    def commands(self) -> SeenCommands:
        """For the next run."""
        return tuple(self._seen())

    def take_over(self, commands: SeenCommands) -> None:
        """What the run before this one has had."""
        self._seen().update(dict.fromkeys(commands))

    def _seen(self) -> dict[UUID, None]:
        seen: dict[UUID, None] = self.__dict__.setdefault("_commands", {})
        return seen


def command_in(arguments: Sequence[RawValue]) -> Command | None:
    """The command in the arguments of a dynamic signal handler; None for a signal that was sent by hand without one."""
    if not arguments:
        return None
    found: Command | None = workflow.payload_converter().from_payload(arguments[0].payload, Command)
    return found
