"""A stand-in for Temporal's frontend that answers every start after a set time.

    python -m benchmarks.ingress.temporal_stub PORT SECONDS [keep]

It speaks just enough HTTP/2 by hand to cost a sixth of the CPU of a `grpc.aio` server: on two cores the stand-in would
otherwise be what is measured. It reads no headers: a call with an empty request is `GetSystemInfo`, any other one is taken for a start.
It keeps no account of the client's flow control: its answers are a hundred bytes each, and the client widens its window with each one.

Lines on its standard input are questions: `count` prints the number of starts so far; `arrivals` prints, and forgets, one JSON list of
`[arrived, answered, workflow ID, partition, offset, key]` for each start in the order of arrival (only with `keep`).
"""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
import time
from collections import deque
from typing import Any
from uuid import UUID

from temporalio.api.workflowservice.v1 import GetSystemInfoResponse, StartWorkflowExecutionRequest, StartWorkflowExecutionResponse

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS, _PING, _WINDOW_UPDATE = 0, 1, 4, 6, 8
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_WINDOW = 2**31 - 1
_INITIAL_WINDOW = 65535
_SMALL = 64
# HPACK: the static table's `:status: 200`, then literals that are never indexed.
_ANSWER_HEADERS = b"\x88\x0f\x10\x10application/grpc"
_ANSWER_TRAILERS = b"\x00\x0bgrpc-status\x010"

Arrival = tuple[float, float, str, int, int, str | None]


class Starts:
    """What the stub has been asked."""

    def __init__(self, seconds: float, *, keep: bool) -> None:
        self.seconds = seconds
        self.keep = keep
        self.count = 0
        self.kept: list[tuple[list[float], bytes]] = []

    def arrivals(self) -> list[Arrival]:
        kept, self.kept = self.kept, []
        return [_arrival(times, message) for times, message in kept]


class Connection(asyncio.Protocol):
    """One client's connection. What it is to answer lies in the order of arrival, since every answer takes the same time."""

    def __init__(self, starts: Starts) -> None:
        self._starts = starts
        self._loop = asyncio.get_running_loop()
        self._buffer = b""
        self._greeted = False
        self._taken = 0
        self._bodies: dict[int, bytes] = {}
        self._due: deque[tuple[float, int, list[float]]] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        initial_window = b"\x00\x04" + (_WINDOW).to_bytes(4, "big")
        transport.write(
            _frame(_SETTINGS, 0, 0, initial_window) + _frame(_WINDOW_UPDATE, 0, 0, (_WINDOW - _INITIAL_WINDOW).to_bytes(4, "big"))
        )

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data
        at = 0
        if not self._greeted:
            if len(data) < len(_PREFACE):
                self._buffer = data
                return
            at, self._greeted = len(_PREFACE), True
        while len(data) - at >= 9:
            size = int.from_bytes(data[at : at + 3], "big")
            if len(data) - at - 9 < size:
                break
            self._take(data[at + 3], data[at + 4], int.from_bytes(data[at + 5 : at + 9], "big"), data[at + 9 : at + 9 + size])
            at += 9 + size
        self._buffer = data[at:]

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _DATA:
            self._widen(len(payload))
            body = self._bodies.pop(stream, b"") + payload
            if flags & _END_STREAM:
                self._asked(stream, body)
            else:
                self._bodies[stream] = body
        elif kind == _SETTINGS and not flags & _ACK:
            self._transport.write(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            self._transport.write(_frame(_PING, _ACK, 0, payload))

    def _widen(self, size: int) -> None:
        self._taken += size
        if self._taken > _WINDOW // 2:
            self._transport.write(_frame(_WINDOW_UPDATE, 0, 0, self._taken.to_bytes(4, "big")))
            self._taken = 0

    def _asked(self, stream: int, body: bytes) -> None:
        if len(body) < _SMALL and not _message(body):
            self._transport.write(_answer(stream, GetSystemInfoResponse().SerializeToString()))
            return
        now = time.monotonic()
        times = [now, 0.0]
        self._starts.count += 1
        if self._starts.keep:
            self._starts.kept.append((times, body))
        if not self._due:
            self._loop.call_later(self._starts.seconds, self._answer_due)
        self._due.append((now + self._starts.seconds, stream, times))

    def _answer_due(self) -> None:
        now = time.monotonic()
        answers = []
        while self._due and self._due[0][0] <= now:
            _, stream, times = self._due.popleft()
            times[1] = now
            run_id = str(UUID(int=time.time_ns() << 32 | stream))
            answers.append(_answer(stream, StartWorkflowExecutionResponse(run_id=run_id, started=True).SerializeToString()))
        if answers and not self._transport.is_closing():
            self._transport.write(b"".join(answers))
        if self._due:
            self._loop.call_later(self._due[0][0] - now, self._answer_due)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _answer(stream: int, message: bytes) -> bytes:
    return (
        _frame(_HEADERS, _END_HEADERS, stream, _ANSWER_HEADERS)
        + _frame(_DATA, 0, stream, b"\x00" + len(message).to_bytes(4, "big") + message)
        + _frame(_HEADERS, _END_HEADERS | _END_STREAM, stream, _ANSWER_TRAILERS)
    )


def _message(body: bytes) -> bytes:
    """Without gRPC's own five bytes: compressed or not, and the size."""
    return gzip.decompress(body[5:]) if body[0] else body[5:]


def _arrival(times: list[float], body: bytes) -> Arrival:
    request = StartWorkflowExecutionRequest.FromString(_message(body))
    origin: dict[str, Any] = json.loads(request.input.payloads[0].data)["origin"]
    return times[0], times[1], request.workflow_id, origin["partition"], origin["offset"], origin.get("key")


async def main(port: int, seconds: float, *, keep: bool) -> None:
    starts = Starts(seconds, keep=keep)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(starts), "127.0.0.1", port)
    questions = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(questions), sys.stdin)
    print("ready", flush=True)
    while question := (await questions.readline()).strip():
        print(json.dumps(starts.count if question == b"count" else starts.arrivals()), flush=True)
    server.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]), keep="keep" in sys.argv[3:]))
