"""Metrics and context of every workflow and activity of a worker process, the notifier's too.

Figures are of one process, as Prometheus has them. A run is counted where it happens and not where it is replayed: another worker that
takes it over, or a cache that has dropped it, counts nothing again. What a worker has counted in the moment in which it is killed,
before the server knew of it, the next one counts once more.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections import OrderedDict
from typing import Any

import structlog
from prometheus_client import Counter, Histogram
from temporalio import activity, workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ApplicationError, FailureError, is_cancelled_exception
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    ExecuteWorkflowInput,
    HandleSignalInput,
    HandleUpdateInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

from schemas import names
from schemas.errors import FailureType, bounded

log = structlog.get_logger(__name__)

WORKFLOWS_STARTED = Counter("headrace_workflows_started_total", "Runs that began here.", ["domain", "workflow"])
WORKFLOWS_ENDED = Counter(
    "headrace_workflows_ended_total",
    "Runs that ended here. outcome: completed, failed, cancelled, continued_as_new; failure: a FailureType or other, empty unless failed.",
    ["domain", "workflow", "outcome", "failure"],
)
WORKFLOW_SECONDS = Histogram(
    "headrace_workflow_seconds",
    "From the start of a run to its end, its time in the queue included.",
    ["domain", "workflow"],
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200),
)
ACTIVITIES_STARTED = Counter("headrace_activities_started_total", "Attempts that began.", ["domain", "activity"])
ACTIVITIES_ENDED = Counter(
    "headrace_activities_ended_total",
    "Attempts that ended. outcome: completed, failed, cancelled; failure: a FailureType or other, empty unless failed.",
    ["domain", "activity", "outcome", "failure"],
)
ACTIVITY_SECONDS = Histogram(
    "headrace_activity_seconds",
    "One attempt, however it ended.",
    ["domain", "activity"],
    buckets=(0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)

_EVENT_ID = SearchAttributeKey.for_keyword(names.SEARCH_ATTRIBUTE_EVENT_ID)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_REMEMBERED = 20_000


class Observed(Interceptor):
    """For one worker; `domain` is the label of what it runs."""

    def __init__(self, domain: str) -> None:
        self._domain = domain

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 - the SDK's name
        return _Activities(next, self._domain)

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:  # noqa: A002, ARG002
        return type("_RunsOfDomain", (_Runs,), {"domain": self._domain})


class _Activities(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, domain: str) -> None:  # noqa: A002 - as above
        super().__init__(next)
        self._domain = domain

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 - as above
        info = activity.info()
        # Never unbound: an attempt has a task, and so a context, of its own.
        structlog.contextvars.bind_contextvars(
            workflow=info.workflow_type,
            activity=info.activity_type,
            attempt=info.attempt,
            **_identity(info.workflow_id, None),
        )
        label = (self._domain, info.activity_type)
        ACTIVITIES_STARTED.labels(*label).inc()
        began = time.perf_counter()
        outcome, failure = "completed", ""
        try:
            return await super().execute_activity(input)
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        except Exception as error:
            outcome, failure = ("cancelled", "") if is_cancelled_exception(error) else ("failed", _failure(error))
            if outcome == "failed":
                log.info("activity_failed", failure=failure, error=_kind(error), seconds=round(time.perf_counter() - began, 3))
            raise
        finally:
            ACTIVITIES_ENDED.labels(*label, outcome, failure).inc()
            ACTIVITY_SECONDS.labels(*label).observe(time.perf_counter() - began)


class _Runs(WorkflowInboundInterceptor):
    """Its code is the process's own and not the sandbox's, so it may count and log; whatever it does is no part of the run's history."""

    domain: str

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:  # noqa: A002 - as above
        _bind()
        info = workflow.info()
        label = (self.domain, info.workflow_type)
        if _first_time("started"):
            WORKFLOWS_STARTED.labels(*label).inc()
        try:
            result = await super().execute_workflow(input)
        except BaseException as error:
            if (ended := _ended(error)) is not None:
                self._tell(*ended, _kind(error))
            raise
        self._tell("completed", "", None)
        return result

    async def handle_signal(self, input: HandleSignalInput) -> None:  # noqa: A002 - as above
        _bind()
        await super().handle_signal(input)

    async def handle_update_handler(self, input: HandleUpdateInput) -> Any:  # noqa: A002 - as above
        _bind()
        return await super().handle_update_handler(input)

    def _tell(self, outcome: str, failure: str, error: str | None) -> None:
        if not _first_time("ended"):
            return
        info = workflow.info()
        seconds = (workflow.now() - info.start_time).total_seconds()
        WORKFLOWS_ENDED.labels(self.domain, info.workflow_type, outcome, failure).inc()
        WORKFLOW_SECONDS.labels(self.domain, info.workflow_type).observe(seconds)
        more = {"failure": failure, "error": error} if failure else {}
        log.info("workflow_ended", run_id=info.run_id, outcome=outcome, seconds=round(seconds, 3), **more)


class _Counted:
    """The newest runs that this process has counted: a workflow task that fails, or comes too late, is no replay when it is tried again."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._lock = threading.Lock()  # each run has a thread of the worker's

    def first_time(self, run_id: str, what: str) -> bool:
        with self._lock:
            if (run_id, what) in self._seen:
                return False
            self._seen[run_id, what] = None
            if len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)
            return True


_COUNTED = _Counted()


def _first_time(what: str) -> bool:
    return not workflow.unsafe.is_replaying() and _COUNTED.first_time(workflow.info().run_id, what)


def _bind() -> None:
    """Each handler of a run is a task, and so a context, of its own."""
    info = workflow.info()
    found = _identity(info.workflow_id, info.typed_search_attributes.get(_EVENT_ID))
    structlog.contextvars.bind_contextvars(workflow=info.workflow_type, **found)


def _identity(workflow_id: str | None, event_id: str | None) -> dict[str, str]:
    """`workflow_id` and `event_id`. A workflow's ID is `<domain>-<event_id>`, and a child's has its parent's in it."""
    if event_id is None and (found := _UUID.search(workflow_id or "")) is not None:
        event_id = found[0]
    return {name: value for name, value in (("workflow_id", workflow_id), ("event_id", event_id)) if value is not None}


def _ended(error: BaseException) -> tuple[str, str] | None:
    """Outcome and failure; None for what ends no run: it is evicted, or its task failed and is tried again."""
    if isinstance(error, workflow.ContinueAsNewError):
        return "continued_as_new", ""
    if isinstance(error, asyncio.CancelledError) or is_cancelled_exception(error):
        return "cancelled", ""
    return ("failed", _failure(error)) if isinstance(error, FailureError) else None


def _failure(error: BaseException) -> str:
    """A closed list: a label that could be anything would be a time series for each."""
    return error.type if isinstance(error, ApplicationError) and error.type in set(FailureType) else "other"


def _kind(error: BaseException) -> str:
    """Not its message, which may hold anything."""
    return bounded((error.type if isinstance(error, ApplicationError) else None) or type(error).__name__, 100)
