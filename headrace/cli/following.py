"""Watching and ending redrives: `headrace dlq progress`, `headrace dlq cancel`, and `--follow`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle, WorkflowQueryFailedError
from temporalio.service import RPCError, RPCStatusCode

from headrace.cli.errors import CommandError, Exit
from headrace.cli.parts import connected, temporal_answers
from headrace.cli.printing import printable
from headrace.settings import Settings
from schemas import names
from schemas.errors import bounded
from schemas.redrive import Progress, RerunTally
from schemas.request import Model

REDRIVE, RERUN = "redrive-", "rerun-"
"""How the workflow IDs begin."""

_POLL_SECONDS = 1.0
_QUERY_SECONDS = timedelta(seconds=5)

M = TypeVar("M", bound=Model)


async def show_progress(settings: Settings, identity: str, *, follow: bool, as_json: bool) -> None:
    """Prints how far a redrive has come. Raises `CommandError`: 1 it has failed, 2 no such ID, 3 not there, 4 Temporal away."""
    kind = _kind(identity)
    client = await connected(settings)
    with temporal_answers(settings):
        handle = await _found(client, identity)
        if follow:
            await (follow_redrive if kind is Progress else follow_rerun)(settings, client, identity, as_json=as_json)
            return
        status = (await handle.describe()).status
        state = status.name.lower().replace("canceled", "cancelled") if status else "unknown"
        told = await _asked(handle, kind)
    if told is None:
        raise CommandError(Exit.UNREACHABLE, f"{identity} is {state}, and no notifier answers for it: is one running? `headrace notifier`")
    print(json.dumps({"workflow_id": identity, "state": state, **told.model_dump()}) if as_json else f"{identity} {state}: {_words(told)}")


async def cancel(settings: Settings, identity: str) -> None:
    """Raises `CommandError`: 2 no such ID, 3 not there or ended, 4 Temporal away."""
    _kind(identity)
    client = await connected(settings)
    with temporal_answers(settings):
        handle = await _found(client, identity)
        if (await handle.describe()).status != WorkflowExecutionStatus.RUNNING:
            raise CommandError(Exit.NOT_FOUND, f"{identity} has ended already")
        await handle.cancel()
    print(f"{identity} ends after what it is sending just now; the rest stays open")


async def follow_redrive(settings: Settings, client: Client, identity: str, *, as_json: bool) -> Progress:
    """Shows a redrive up to its end, and gives it. Raises `CommandError`: 1 it was cancelled or has failed, 4 Temporal away."""
    with temporal_answers(settings), _bar() as bar:
        shown = bar.add_task("dead letters", total=None)

        def tell(progress: Progress) -> None:
            bar.update(shown, completed=progress.done, total=progress.total, description=f"{progress.sent} sent, {progress.rate:.0f}/s")

        done = await _follow(client, identity, Progress, tell)
    print(json.dumps({"workflow_id": identity, **done.model_dump()}) if as_json else _words(done))
    return done


async def follow_rerun(settings: Settings, client: Client, identity: str, *, as_json: bool) -> RerunTally:
    """The same for `--rerun-failed`."""
    with temporal_answers(settings), _bar() as bar:
        shown = bar.add_task("failed runs", total=None)

        def tell(tally: RerunTally) -> None:
            bar.update(shown, completed=tally.found, description=f"{tally.started} started anew")

        done = await _follow(client, identity, RerunTally, tell)
    print(json.dumps({"workflow_id": identity, **done.model_dump()}) if as_json else _words(done))
    return done


async def _follow(client: Client, identity: str, kind: type[M], tell: Callable[[M], None]) -> M:
    handle: WorkflowHandle[Any, M] = client.get_workflow_handle(identity, result_type=kind)
    ended, said = asyncio.create_task(handle.result()), ""
    try:
        while not (await asyncio.wait({ended}, timeout=_POLL_SECONDS))[0]:
            if (told := await _asked(handle, kind)) is not None:
                tell(told)
            waits = await _waits_for(handle)
            if waits and waits != said:
                print(waits, file=sys.stderr)
            said = waits
        return ended.result()
    except WorkflowFailureError as error:
        told = await _asked(handle, kind)
        so_far = f"; until then: {_words(told)}" if told else ""
        raise CommandError(
            Exit.FAILED, f"{identity} did not come to its end: {printable(bounded(str(error.cause), 300))}{so_far}"
        ) from error
    finally:
        ended.cancel()


async def _asked(handle: WorkflowHandle[Any, Any], kind: type[M]) -> M | None:
    """None when no notifier answers."""
    try:
        answer: M = await handle.query(names.QUERY_PROGRESS, result_type=kind, rpc_timeout=_QUERY_SECONDS)
    except WorkflowQueryFailedError:
        return None
    except RPCError as error:
        if error.status in (RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.FAILED_PRECONDITION, RPCStatusCode.CANCELLED):
            return None
        raise
    return answer


async def _waits_for(handle: WorkflowHandle[Any, Any]) -> str:
    """What holds it up just now; empty when nothing does."""
    raw = (await handle.describe()).raw_description
    for pending in raw.pending_activities:
        if pending.HasField("last_failure") and pending.attempt > 1:
            return f"it waits, attempt {pending.attempt}: {printable(bounded(pending.last_failure.message, 300))}"
    task = raw.pending_workflow_task
    if raw.HasField("pending_workflow_task") and not task.HasField("started_time") and task.attempt <= 1:
        return "no notifier takes it yet: is one running? `headrace notifier`, or `headrace up`"
    return ""


async def _found(client: Client, identity: str) -> WorkflowHandle[Any, Any]:
    handle: WorkflowHandle[Any, Any] = client.get_workflow_handle(identity)
    try:
        await handle.describe()
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            raise CommandError(Exit.NOT_FOUND, f"there is no redrive {identity}, or Temporal has forgotten it") from error
        raise
    return handle


def _kind(identity: str) -> type[Progress | RerunTally]:
    if identity.startswith(REDRIVE):
        return Progress
    if identity.startswith(RERUN):
        return RerunTally
    raise CommandError(Exit.USAGE, f"{identity!r} is no redrive's ID: they begin with {REDRIVE} or {RERUN}")


def _words(told: Model) -> str:
    if isinstance(told, Progress):
        return f"{told.sent} sent, {told.parked} parked, {told.skipped} skipped; {told.done} of {told.total} offsets looked at"
    assert isinstance(told, RerunTally)  # noqa: S101 - there are two
    parts = {
        "started anew": told.started,
        "with another code": told.other_code,
        "with a newer run": told.superseded,
        "whose end is not told yet": told.not_told,
        "that no record asked for": told.not_ours,
    }
    codes = ", ".join(f"{code} {count}" for code, count in sorted(told.codes.items()))
    return (
        f"{told.found} failed runs: "
        + ", ".join(f"{count} {words}" for words, count in parts.items() if count)
        + (f" ({codes})" if codes else "")
    )


@contextlib.contextmanager
def _bar() -> Any:
    """On a terminal only: what is piped gets the last line."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, disable=not console.is_terminal) as bar:
        yield bar
