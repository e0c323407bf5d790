"""Pause, resume and cancel of a run: by the commands, and by Temporal's own cancellation to the same effect."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import activity, workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from schemas.command import Command
    from workers.commands import TakesCommands

T = TypeVar("T")


@activity.defn(name="request_cancellation")
async def request_cancellation() -> None:
    """Asks Temporal to cancel the run that this activity belongs to; asking twice is asking once."""
    info = activity.info()
    await activity.client().get_workflow_handle(str(info.workflow_id), run_id=info.workflow_run_id).cancel()


class Controlled(TakesCommands):
    """Mixin of a workflow that takes `pause`, `resume` and `cancel`. It needs no `super().__init__()`.

    Its work runs `under_control`, and awaits `may_go_on` before each step. The activity `request_cancellation` must be on its queue.
    """

    paused = False
    cancelled = False
    _working: asyncio.Task[Any] | None = None

    @workflow.signal
    def pause(self, command: Command | None = None) -> None:
        if self.accept(command):
            self.paused = True

    @workflow.signal
    def resume(self, command: Command | None = None) -> None:
        if self.accept(command):
            self.paused = False

    @workflow.signal
    def cancel(self, command: Command | None = None) -> None:
        # What has its outcome keeps it.
        if self.accept(command) and not (self._working and self._working.done()):
            self.cancelled = True

    async def may_go_on(self) -> None:
        """Holds while the run is paused. Raises `asyncio.CancelledError` once it is cancelled, also when a step ended in spite of it."""
        await workflow.wait_condition(lambda: self.cancelled or not self.paused)
        if self.cancelled:
            raise asyncio.CancelledError

    async def under_control(self, work: Coroutine[Any, Any, T]) -> T:
        """Awaits `work`. A cancel ends it at once, and raises `asyncio.CancelledError` as soon as it has ended.

        Temporal ends a run as Cancelled only if it was asked to: one that only raises would show as Failed, and no run can send the
        request to itself by a workflow command. So the signal's cancel becomes Temporal's, through a local activity, and both are one from
        there on.
        """
        working: asyncio.Task[T] = asyncio.create_task(work)
        self._working = working
        with contextlib.suppress(asyncio.CancelledError):
            await workflow.wait_condition(lambda: self.cancelled or working.done())
        if working.done() and not self.cancelled:
            return working.result()
        self.cancelled = True
        working.cancel()
        await _until_temporal_knows()
        await workflow.wait([working])
        if not working.cancelled():
            working.exception()  # whatever it is: a cancelled run ends as cancelled
        raise asyncio.CancelledError


async def _until_temporal_knows() -> None:
    if workflow.cancellation_reason() is not None:
        return
    try:
        await workflow.execute_local_activity(request_cancellation, start_to_close_timeout=timedelta(seconds=10))
        await workflow.wait_condition(lambda: workflow.cancellation_reason() is not None)
    except (asyncio.CancelledError, ActivityError) as error:
        # Its own request, or somebody else's that came meanwhile and cancelled the local activity too.
        if not is_cancelled_exception(error):
            raise
