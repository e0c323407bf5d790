"""A workflow that takes commands, in the two ways in which a handler is written, and continues as new when it is told to."""

from __future__ import annotations

from collections.abc import Sequence

from temporalio import workflow
from temporalio.common import RawValue

with workflow.unsafe.imports_passed_through():
    from schemas.command import Command, SeenCommands
    from schemas.request import Model
    from workers.commands import TakesCommands, command_in


class State(Model):
    """What one run hands over to the next."""

    applied: tuple[str, ...] = ()
    """Each command that was applied, as `<signal>:<reason>`."""
    runs: int = 1
    commands: SeenCommands = ()


class _Remembers(TakesCommands):
    """Remembers what it applies; `turn_over` makes it continue as new, `end` ends it with its state."""

    def begin(self, given: State) -> None:
        self.take_over(given.commands)
        self._applied = list(given.applied)
        self._runs = given.runs
        self._turn_over = self._end = False

    def apply(self, action: str, command: Command | None) -> None:
        if self.accept(command):
            self._applied.append(f"{action}:{command.reason if command else ''}")

    @workflow.signal
    def turn_over(self) -> None:
        self._turn_over = True

    @workflow.signal
    def end(self) -> None:
        self._end = True

    @workflow.query
    def runs(self) -> int:
        return self._runs

    async def until_told(self) -> State:
        await workflow.wait_condition(lambda: self._turn_over or self._end)
        state = State(applied=tuple(self._applied), runs=self._runs + 1, commands=self.commands)
        if not self._end:
            workflow.continue_as_new(state)
        return state


@workflow.defn
class StaticCommands(_Remembers):
    """A handler for each command."""

    @workflow.init
    def __init__(self, given: State) -> None:
        self.begin(given)

    @workflow.run
    async def run(self, given: State) -> State:  # noqa: ARG002 - `__init__` has it
        return await self.until_told()

    @workflow.signal
    def pause(self, command: Command | None = None) -> None:
        self.apply("pause", command)

    @workflow.signal
    async def resume(self, command: Command | None = None) -> None:
        self.apply("resume", command)

    @workflow.signal
    def cancel(self, command: Command | None = None) -> None:
        self.apply("cancel", command)
        self._end = True


@workflow.defn
class DynamicCommands(_Remembers):
    """One handler for whatever comes."""

    @workflow.init
    def __init__(self, given: State) -> None:
        self.begin(given)

    @workflow.run
    async def run(self, given: State) -> State:  # noqa: ARG002 - as above
        return await self.until_told()

    @workflow.signal(dynamic=True)
    async def any(self, name: str, arguments: Sequence[RawValue]) -> None:
        self.apply(name, command_in(arguments))
