"""A gRPC proxy before a Temporal server: it forwards bytes, answers in the server's place, and loses answers after the server acted."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

import grpc  # type: ignore[import-untyped] # grpcio ships no types
import grpc.aio  # type: ignore[import-untyped]
from temporalio.api.workflowservice.v1 import SignalWorkflowExecutionRequest, StartWorkflowExecutionRequest

START, SIGNAL = "StartWorkflowExecution", "SignalWorkflowExecution"
_OPTIONS = [
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.max_send_message_length", 64 * 1024 * 1024),
    # The server comes back within a second: the channel must notice.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 300),
]
_HOP_BY_HOP = ("user-agent", "te", "content-type")

Code = Literal["UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "INTERNAL", "INVALID_ARGUMENT"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call gets instead of the server's answer.

    `applied`: the server acts on it all the same, and its answer is lost. A call without `code` is only `late`.
    """

    code: Code | None = None
    applied: bool = False
    late: float = 0.0


@dataclass(frozen=True, slots=True)
class Call:
    """One start or signal as it arrived."""

    number: int
    at: float
    method: str
    workflow_id: str
    payload: bytes
    """The first payload of its input."""
    forwarded: bool


Decide = Callable[[str, str], Answer | None]
"""From the method's name and the workflow's ID to what the call gets; None lets it pass."""


class TemporalProxy:
    """Serves on a loopback port, with `credentials` by TLS alone. `decide` is asked for each start and signal."""

    def __init__(self, address: Callable[[], str], credentials: grpc.ServerCredentials | None = None) -> None:
        self._address = address
        self._credentials = credentials
        self._server: Any = None
        self._channel: Any = None
        self.decide: Decide = lambda _method, _workflow_id: None
        self.calls: list[Call] = []
        self.port = 0

    async def __aenter__(self) -> Self:
        self._channel = grpc.aio.insecure_channel(self._address(), options=_OPTIONS)
        self._server = grpc.aio.server(options=_OPTIONS)
        self._server.add_generic_rpc_handlers((_Handler(self._serve),))
        if self._credentials is None:
            self.port = self._server.add_insecure_port("127.0.0.1:0")
        else:
            self.port = self._server.add_secure_port("127.0.0.1:0", self._credentials)
        await self._server.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._server.stop(None)
        await self._channel.close()

    def forget(self) -> None:
        """A new run: nothing has been called, everything passes."""
        self.calls.clear()
        self.decide = lambda _method, _workflow_id: None

    async def _serve(self, method: str, request: bytes, context: Any) -> bytes:
        name = method.rpartition("/")[2]
        answer = None
        if name in (START, SIGNAL):
            workflow_id, payload = _read(name, request)
            answer = self.decide(name, workflow_id)
            forwarded = answer is None or answer.code is None or answer.applied
            self.calls.append(Call(len(self.calls), time.time(), name, workflow_id, payload, forwarded))
        if answer is None:
            return await self._forward(method, request, context)
        if answer.late:
            await asyncio.sleep(answer.late)
        if answer.code is None:
            return await self._forward(method, request, context)
        if answer.applied:
            # The answer is lost, and so is a refusal: nobody can tell which it was.
            with contextlib.suppress(grpc.aio.AioRpcError):
                await self._call(method, request, context)
        await context.abort(getattr(grpc.StatusCode, answer.code), "the proxy of the chaos suite says so")
        raise AssertionError("abort raises")

    async def _forward(self, method: str, request: bytes, context: Any) -> bytes:
        try:
            return await self._call(method, request, context)
        except grpc.aio.AioRpcError as error:
            # Temporal's own details (which run has the workflow ID) travel in the trailing metadata.
            await context.abort(error.code(), error.details() or "", tuple(error.trailing_metadata() or ()))
            raise

    async def _call(self, method: str, request: bytes, context: Any) -> bytes:
        metadata = [(name, value) for name, value in context.invocation_metadata() if name not in _HOP_BY_HOP]
        call = self._channel.unary_unary(method)  # without serializers: bytes in, bytes out
        answer: bytes = await call(request, metadata=metadata, timeout=context.time_remaining())
        return answer


class _Handler(grpc.GenericRpcHandler):  # type: ignore[misc] # untyped base
    """Every method, as one from bytes to bytes."""

    def __init__(self, serve: Callable[[str, bytes, Any], Awaitable[bytes]]) -> None:
        self._serve = serve

    def service(self, details: Any) -> Any:
        method: str = details.method

        async def handle(request: bytes, context: Any) -> bytes:
            return await self._serve(method, request, context)

        return grpc.unary_unary_rpc_method_handler(handle)


def _read(name: str, request: bytes) -> tuple[str, bytes]:
    if name == START:
        start = StartWorkflowExecutionRequest.FromString(request)
        return start.workflow_id, start.input.payloads[0].data if start.input.payloads else b""
    signal = SignalWorkflowExecutionRequest.FromString(request)
    return signal.workflow_execution.workflow_id, signal.input.payloads[0].data if signal.input.payloads else b""
