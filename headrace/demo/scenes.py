"""In which order things happen: what must be there before a record is sent, what is said to its run, what comes last."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from temporalio.client import Client
from temporalio.service import RPCError

from headrace import s3
from headrace.demo import plan
from headrace.demo.credits import balance, operate
from headrace.demo.datasets import customers
from headrace.demo.plan import NOT_SENT, Case, Purchase, Steered
from headrace.demo.send import Sender
from headrace.demo.watch import Watch
from headrace.settings import Settings
from schemas.analysis import DataAnalysisRequested, parse_uri
from schemas.ids import workflow_id
from schemas.names import Action
from schemas.transaction import TransactionRequested

_ATTEMPTS = 5
_ASK_SECONDS = 0.1
_HOLD_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Stage:
    """What the scenes need. Everything that they do is done as any user would do it."""

    settings: Settings
    temporal: Client
    sender: Sender
    watch: Watch


async def play(stage: Stage, cases: list[Case]) -> None:
    """Returns when every record has its answer. May be cancelled at any time."""
    last = [case for case in cases if case.section == plan.MAINTENANCE]
    first = [case for case in cases if case not in last]
    async with asyncio.TaskGroup() as tasks:
        for case in first:
            if isinstance(case, Purchase):
                tasks.create_task(_purchase(stage, case))
            elif isinstance(case, Steered):
                tasks.create_task(_steer(stage, case))
            elif case.section == plan.ANALYSIS:
                tasks.create_task(_analyse(stage, case))
            else:
                await stage.sender.send(case)
    await stage.watch.ended(*first)
    # Behind everything else, so that it counts what the others have left.
    for case in last:
        case.renew()
        await stage.sender.send(case)
    await stage.watch.ended(*last)
    # The offsets are committed up to the end only when every record has its disposition, the repeated one too.
    await stage.watch.no_lag()


async def _analyse(stage: Stage, case: Case) -> None:
    if not isinstance(case.request, DataAnalysisRequested):
        raise TypeError(f"{case.about!r} is no request for an analysis")
    bucket, key = parse_uri(case.request.file_path)
    storage = s3.client(stage.settings)
    try:
        data = await asyncio.to_thread(customers)
        await asyncio.to_thread(storage.put_object, Bucket=bucket, Key=key, Body=data.csv.encode())
    finally:
        storage.close()
    case.renew()
    await stage.sender.send(case)


async def _purchase(stage: Stage, case: Purchase) -> None:
    if not isinstance(case.request, TransactionRequested):
        raise TypeError(f"{case.about!r} is no purchase")
    user = case.request.user_id
    wanted = [operate("grant", user, str(case.granted), "--reference", f"demo-{user}")]
    if case.sold_out:
        wanted.append(operate("stock", case.request.item, "0"))
    if troubles := [trouble for trouble in await asyncio.gather(*wanted) if trouble]:
        case.state = f"{NOT_SENT}{troubles[0]}"
        return
    case.before = await balance(stage.settings, user)
    case.renew()
    await stage.sender.send(case)
    await stage.watch.ended(case)
    case.after = await balance(stage.settings, user)


async def _steer(stage: Stage, case: Steered) -> None:
    """Pauses a run, sees that it stands, then resumes or cancels it.

    The local backend draws in a fraction of a second. So the pause is sent first, and waits at the ingress for the run that it is for.
    Should the picture be done all the same before the pause is there, another one is asked for.
    """
    for _ in range(_ATTEMPTS):
        await stage.sender.command(case, Action.PAUSE)
        await stage.sender.send(case)
        case.note("requested; a pause was sent ahead, and waits for it")
        if await _stands(stage, case):
            break
        await stage.watch.ended(case)
        case.again()
    else:
        case.state = f"{NOT_SENT}no pause came before its picture was done"
        return
    await stage.sender.command(case, case.then)
    case.note(f"{case.then} sent")
    case.state = "running"
    await stage.watch.ended(case)
    case.note(case.state)


async def _stands(stage: Stage, case: Steered) -> bool:
    """Whether the run is paused and stays at the same step for a while."""
    step, since = "", case.age()
    while case.under_way:
        status = await _status(stage, case)
        if not case.under_way:
            break  # it has ended meanwhile
        if status.get("paused") and status["step"] != step:
            step, since = str(status["step"]), case.age()
            case.state = f"paused at {step}"
            case.note(f"get_status: paused, {step}")
        if step and case.age() - since >= _HOLD_SECONDS:
            case.note("get_status: still there")
            case.held = True
            return True
        await asyncio.sleep(_ASK_SECONDS)
    return False


async def _status(stage: Stage, case: Steered) -> dict[str, object]:
    """The answer of the query `get_status`; nothing while the run cannot be asked, because there is none yet, for example."""
    if case.event_id is None:
        return {}
    handle = stage.temporal.get_workflow_handle(workflow_id(case.domain, case.event_id))
    try:
        answer = await handle.query("get_status")
    except RPCError:
        return {}
    return answer if isinstance(answer, dict) else {}
