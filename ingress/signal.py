"""From a command to a signal: which run it is for, and the one call to Temporal."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum, auto
from typing import Protocol
from uuid import UUID

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure
from temporalio.api.workflowservice.v1 import SignalWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from headrace.temporal_refusals import why
from ingress.disposition import Signalled
from ingress.errors import Busy, sort
from schemas.command import COMMAND, Command, WorkflowCommandIssued
from schemas.errors import Reason, Rejected, Transient
from schemas.ids import workflow_id

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 1.0
_ASK_EVERY_SECONDS = 5.0


class Target(Protocol):
    """What the ledger has of the event that a command is for: `ingress.ledger.Entry`."""

    @property
    def record(self) -> str: ...
    @property
    def disposition(self) -> str: ...
    @property
    def workflow_id(self) -> str | None: ...


class _Missing(Enum):
    """Why a workflow cannot be signalled."""

    CLOSED = auto()
    UNKNOWN = auto()


class Signaller:
    """Gives a command to the workflow of its target event, for which it waits a bounded time: a command may overtake the request.

    Only pauses in which Temporal and the database answer count as waiting. An outage of theirs holds the request back too, and must not
    end in a dead letter: `find` does not return while the database is away, and Temporal is asked itself every few seconds.
    """

    def __init__(
        self,
        client: Client,
        find: Callable[[UUID], Awaitable[Target | None]],
        domains: Sequence[str],
        seconds: float,
        wait_seconds: float,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._find = find
        self._domains = domains
        self._seconds = seconds
        self._wait_seconds = wait_seconds
        self._sleep = sleep

    async def signal(self, command: WorkflowCommandIssued) -> Signalled:
        """Returns when Temporal has the signal. Called again with the same command, it gives the same signal, which is applied once.

        Raises `Rejected` (UNKNOWN_TARGET, TARGET_CLOSED, REJECTED_BY_TEMPORAL), `Transient` (`Busy`) after which the wait begins anew,
        and `ingress.errors.NotSetUp`. May be cancelled at any time.
        """
        waited, asked, pause = 0.0, 0, _FIRST_PAUSE
        while True:
            target = await self._find(command.target_event_id)
            if target is not None:
                _check_is_a_request(command, target)
                if target.disposition == "started" and target.workflow_id:
                    return await self._signal_known(command, target.workflow_id)
            candidates, last = self._candidates(command, target), waited >= self._wait_seconds
            if not last and waited >= (asked + 1) * _ASK_EVERY_SECONDS:
                candidates, asked = [candidates[asked % len(candidates)]], asked + 1
            elif not last:
                candidates = []
            for workflow in candidates:
                found = await self._ask(command, workflow)
                if isinstance(found, Signalled):
                    return found
                if found is _Missing.CLOSED:
                    raise _closed(workflow, found)
            if last:
                raise _unknown(command, target, self._wait_seconds)
            pause = min(pause, self._wait_seconds - waited)
            await self._sleep(pause)
            waited, pause = waited + pause, min(2 * pause, _LONGEST_PAUSE)

    def _candidates(self, command: WorkflowCommandIssued, target: Target | None) -> list[str]:
        """The workflows that the target may have although its row does not say so: it is not settled yet, or older than the ledger."""
        pending = target is not None and target.disposition == "pending"
        domains = [target.record.split(".")[-2]] if target is not None and pending else self._domains
        return [workflow_id(domain, command.target_event_id) for domain in domains]

    async def _signal_known(self, command: WorkflowCommandIssued, workflow: str) -> Signalled:
        found = await self._ask(command, workflow)
        if isinstance(found, Signalled):
            return found
        raise _closed(workflow, found)

    async def _ask(self, command: WorkflowCommandIssued, workflow: str) -> Signalled | _Missing:
        """The client's own `signal` draws another request ID for each call.

        By this one the server knows a repetition: it adds nothing to the run, and says OK also when the run has ended since, for example
        by this very command. A run that has continued as new does not know it, so the ID travels in the signal too (`workers.commands`).
        """
        request = SignalWorkflowExecutionRequest(
            namespace=self._client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=workflow),
            signal_name=command.command,
            identity=self._client.identity,
            request_id=str(command.event_id),
        )
        argument = Command(event_id=command.event_id, reason=command.reason)
        try:
            async with asyncio.timeout(self._seconds):
                request.input.payloads.extend(await self._client.data_converter.encode([argument]))
                answer = await self._client.workflow_service.signal_workflow_execution(request)
        except RPCError as error:
            return _sort(error)
        except TimeoutError as error:
            raise Busy(f"Temporal did not answer a signal within {self._seconds:g} s") from error
        except RuntimeError as error:  # a client that has never been connected, or S3 for a payload that is to lie there
            raise Transient(f"Temporal, or S3 for a large payload, is not reached: {why(error)}") from error
        return Signalled(command.event_id, workflow, answer.link.workflow_event.run_id or None)


def _sort(error: RPCError) -> _Missing:
    """What an answer other than OK means for a signal. Raises what is not about its run."""
    if error.status != RPCStatusCode.NOT_FOUND or any(
        detail.Is(NamespaceNotFoundFailure.DESCRIPTOR) for detail in error.grpc_status.details
    ):
        raise sort(error.status, error.message) from error
    return _Missing.CLOSED if "already completed" in error.message else _Missing.UNKNOWN


def _check_is_a_request(command: WorkflowCommandIssued, target: Target) -> None:
    if target.record == COMMAND:
        target_is = "this command itself" if command.target_event_id == command.event_id else "a command"
        raise Rejected(
            Reason.UNKNOWN_TARGET, f"event ID {command.target_event_id} is that of {target_is}: a command is for the event of a request"
        )


def _closed(workflow: str, missing: _Missing) -> Rejected:
    if missing is _Missing.CLOSED:
        return Rejected(Reason.TARGET_CLOSED, f"workflow {workflow} has ended: a command reaches only one that runs")
    return Rejected(
        Reason.TARGET_CLOSED, f"workflow {workflow} was started, and Temporal knows it no more: it has ended and its retention is over"
    )


def _unknown(command: WorkflowCommandIssued, target: Target | None, seconds: float) -> Rejected:
    if target is None:
        why = "no request of that event ID came"
    elif target.disposition == "pending":
        why = f"its {target.record} was read, but has not been started"
    else:
        why = f"its {target.record} was dead-lettered"
    return Rejected(
        Reason.UNKNOWN_TARGET, f"target {command.target_event_id}: {why} within {seconds:g} s (HEADRACE_INGRESS_COMMAND_WAIT_SECONDS)"
    )
