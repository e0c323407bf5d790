"""The reconciler's activities: they may run twice, at once, or be cut off anywhere, and are simply begun again."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import structlog
from prometheus_client import Counter
from temporalio import activity
from temporalio.exceptions import ApplicationError

from headrace.settings import Settings
from headrace.wire import Wire
from notifier.publish import CompletionActivities
from notifier.reconcile import requests
from notifier.reconcile.events import OpenEvent, OpenEvents
from notifier.reconcile.requests import Requests, Sender
from notifier.reconcile.round import LONGEST_PAUSE, Looked, Round, at_once, in_words_of_temporal, later, now
from notifier.reconcile.runs import Ended, Gone, Running, Runs
from notifier.reconcile.verdict import GONE
from schemas import names
from schemas.completion import Completion, SendCompletion, Status, completion_record
from schemas.ids import completion_id
from schemas.reconcile import Noted, Reconcile, Reconciled
from schemas.request import milliseconds

log = structlog.get_logger(__name__)

RECONCILED = Counter("headrace_notifier_reconciled", "Completions published on behalf of runs that could not tell themselves.", ["status"])

_BUDGET_SECONDS = 300.0
"""Of one activity; what is left is the next one's."""
_LAG = timedelta(minutes=5)
"""How far visibility may be behind."""
_CLAIM_DIES = timedelta(minutes=15)
"""A rerun that has not started by then what it claimed is dead: its page has five minutes, and another takes it over after two."""
_MANY = 50
_UNDELIVERED = 100


class ReconcileActivities:
    """Finds and completes. `make_runs` gives each pass its own count of calls to Temporal."""

    def __init__(
        self, events: OpenEvents, completions: CompletionActivities, make_runs: Callable[[], Runs], settings: Settings, wire: Wire
    ) -> None:
        self._events = events
        self._completions = completions
        self._make_runs = make_runs
        self._settings = settings
        self._wire = wire

    @activity.defn(name=names.NOTE_OPEN_EVENTS)
    async def note_open_events(self, asked: Reconcile) -> Noted:
        """Raises `ApplicationError`, to be tried again."""
        return await in_words_of_temporal(self._note(asked))

    @activity.defn(name=names.COMPLETE_ENDED_RUNS)
    async def complete_ended_runs(self, asked: Reconcile) -> Reconciled:
        """Raises `ApplicationError`, to be tried again."""
        return await in_words_of_temporal(self._reconcile(asked))

    async def _note(self, asked: Reconcile) -> Noted:
        read, noted, deadline = 0, 0, time.monotonic() + _BUDGET_SECONDS
        moment = now()
        until = moment - timedelta(seconds=asked.grace_seconds)
        cursor = await self._events.reached()
        while time.monotonic() < deadline:
            activity.heartbeat()
            page = await self._events.note(cursor, until, moment)
            read, noted = read + page.read, noted + page.noted
            if page.cursor is None:
                break
            cursor = page.cursor
        return Noted(read=read, noted=noted)

    async def _reconcile(self, asked: Reconcile) -> Reconciled:
        async with Requests(self._settings, self._wire) as kafka:
            this = Round(asked, self._make_runs(), kafka, time.monotonic() + _BUDGET_SECONDS)
            await self._deliver(this)
            await self._bring_forward(this)
            # What is put off is put off to after this moment: nothing is looked at twice.
            while not this.out_of_time() and (due := await self._events.due(this.began)):
                activity.heartbeat()
                await self._look_at(this, due)
        more = bool(await self._events.due(this.began, 1))
        return Reconciled(completed=dict(this.completed), calls=this.runs.calls, more=more, **this.tally)

    async def _bring_forward(self, this: Round) -> None:
        """Runs that somebody has ended are few and found at once; all others are looked at in turn, ever more seldom."""
        if this.asked.believe_gone:
            await self._events.bring_missing_forward(this.began)
        since = await self._events.closed_runs_seen()
        async for page in this.runs.ended_from_outside(since - _LAG if since.timestamp() > 0 else since):
            activity.heartbeat()
            await self._events.bring_forward(page, this.began)
        await self._events.see_closed_runs(this.began)

    async def _look_at(self, this: Round, due: list[OpenEvent]) -> None:
        looked = Looked(done=list(await self._events.published([event.key for event in due])))
        # What is decided and not delivered is `_deliver`'s.
        decided = await self._events.decided([event.key for event in due])
        left = [event for event in due if event.key not in decided]
        looked.open.update(dict.fromkeys(decided.difference(looked.done), this.soon))
        running = await this.runs.running([event.workflow_id for event in left]) if left else {}
        # Another run of the workflow than the event's may be its successor, or one that has nothing to do with it.
        sure = {event.key for event in left if event.workflow_id in running and event.run_id in (None, running[event.workflow_id])}
        looked.open.update({event.key: later(event, this) for event in left if event.key in sure})
        doubtful = [event for event in left if event.key not in sure]
        await at_once(doubtful, lambda event: self._look(this, event, looked))
        await self._believe(this, looked, len(due))
        this.tally["checked"] += len(due)
        this.tally["still_open"] += len(looked.open)
        this.tally["missing"] += len(looked.missing)
        await self._events.remove(looked.done)
        await self._events.postpone(looked.open)
        await self._events.missing(looked.missing, this.soon)

    async def _look(self, this: Round, event: OpenEvent, looked: Looked) -> None:
        activity.heartbeat()
        match await this.runs.look(event.workflow_id, event.run_id, event.generation):
            case Running():
                looked.open[event.key] = later(event, this)
            case Ended() as run:
                settled = run.ending.closed_at + this.grace
                if settled > now():
                    looked.open[event.key] = settled
                else:
                    await self._complete(this, event, run, looked)
            case Gone():
                await self._not_found(this, event, looked)

    async def _not_found(self, this: Round, event: OpenEvent, looked: Looked) -> None:
        """A run that was never started is not gone; one that was is asked for twice before that is believed."""
        if event.generation > 1 and event.run_id is None:
            if now() - event.claimed_at < _CLAIM_DIES:
                looked.open[event.key] = this.soon
            else:
                looked.done.append(event.key)  # who takes the claim over opens it anew
            return
        disposition = await self._events.disposition(event.event_id)
        if disposition == "pending":
            looked.open[event.key] = later(event, this)
        elif disposition not in ("started", None):
            looked.done.append(event.key)  # refused after it had its row: its receipt is the ingress's
        elif event.missing_since is None:
            looked.missing[event.key] = now()
        else:
            looked.gone.append(event)

    async def _believe(self, this: Round, looked: Looked, asked_for: int) -> None:
        gone = looked.gone
        if len(gone) >= _MANY and len(gone) > asked_for / 2 and not this.asked.believe_gone:
            log.error("too_many_runs_gone", gone=len(gone), of=asked_for, hint="is this the right Temporal? start it with believe_gone")
            this.tally["withheld"] += len(gone)
            since = {event.key: event.missing_since for event in gone if event.missing_since}
            await self._events.missing(since, now() + LONGEST_PAUSE)
            return
        await at_once(gone, lambda event: self._complete(this, event, None, looked))

    async def _complete(self, this: Round, event: OpenEvent, run: Ended | None, looked: Looked) -> None:
        record = completion_record(event.record)
        if self._wire.catalog.by_name(record) is None:
            log.error("event_cannot_be_completed", event_id=str(event.event_id), record=record, hint="add its .avsc beside the request's")
            this.tally["unannounceable"] += 1
        else:
            try:
                await self._publish(this, event, record, run)
            except ApplicationError as error:
                if not error.non_retryable:
                    raise
                # One event that can never be told must not keep the others waiting.
                log.exception("event_cannot_be_completed", event_id=str(event.event_id), record=record)
                this.tally["unannounceable"] += 1
                looked.open[event.key] = now() + LONGEST_PAUSE
                return
        looked.done.append(event.key)

    async def _publish(self, this: Round, event: OpenEvent, record: str, run: Ended | None) -> None:
        command = await self._command(this, event, record, run)
        own = run.announced if run else None
        if own is not None and own.completion.get("completion_id") != command.completion["completion_id"]:
            own = None  # of something else
        try:
            _, status = await self._completions.publish(own or command, activity.heartbeat)
        except ApplicationError as error:
            if not error.non_retryable or own is None:
                raise
            _, status = await self._completions.publish(command, activity.heartbeat)
        said = str(status or command.completion["status"])
        this.completed[said] += 1
        RECONCILED.labels(said).inc()
        log.info("run_completed_on_its_behalf", event_id=str(event.event_id), generation=event.generation, status=said)

    async def _command(self, this: Round, event: OpenEvent, record: str, run: Ended | None) -> SendCompletion:
        sender = await self._sender(this, event, run)
        completion = Completion[Any](
            completion_id=completion_id(*event.key),
            event_id=event.event_id,
            user_id=sender.user_id,
            workflow_id=event.workflow_id,
            run_id=run.run_id if run else event.run_id,
            status=run.ending.status if run else Status.TERMINATED,
            error=run.ending.error if run else GONE,
            requested_at=milliseconds(sender.requested_at),
            started_at=milliseconds(run.started_at) if run else None,
            completed_at=milliseconds(run.ending.closed_at if run else now()),
        )
        domain = event.record.split(".")[-2]
        carried = {"key": sender.key, "traceparent": sender.traceparent}
        return SendCompletion(
            domain=domain, record=record, completion=completion.model_dump(mode="json"), generation=event.generation, **carried
        )

    async def _sender(self, this: Round, event: OpenEvent, run: Ended | None) -> Sender:
        if run and run.accepted and run.accepted.request.event_id == event.event_id:
            return requests.of_run(run.accepted)
        return await this.requests.sender(event) or requests.unknown(event)

    async def _deliver(self, this: Round) -> None:
        """Sends what a notifier had decided and did not live, or did not dare, to see acknowledged."""
        before = now() - this.grace
        while not this.out_of_time() and (left := await self._completions.undelivered(before, _UNDELIVERED)):
            for message in left:
                activity.heartbeat()
                try:
                    await self._completions.deliver(message, activity.heartbeat)
                except ApplicationError as error:
                    if not error.non_retryable:
                        raise
                    # It is decided no more: how its run ended is told as for any other.
                else:
                    this.tally["delivered"] += 1
