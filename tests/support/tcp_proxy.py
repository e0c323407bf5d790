"""A TCP proxy that delays, drops, resets and refuses: what toxiproxy does, in the test's own loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Literal, Self

Mode = Literal["pass", "drop", "refuse"]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time to linger: closing sends RST."""
_CHUNK = 64 * 1024


class TcpProxy:
    """Listens on a loopback port and forwards to whatever `connect` opens.

    `drop` keeps connections open and lets nothing through, `refuse` ends them as soon as they are accepted, `delay` seconds are
    added to everything that passes.
    """

    def __init__(self, connect: Callable[[], Awaitable[Streams]]) -> None:
        self._connect = connect
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._passing = asyncio.Event()
        self._passing.set()
        self.mode: Mode = "pass"
        self.delay = 0.0
        self.port = 0

    @classmethod
    def to_address(cls, address: Callable[[], str]) -> Self:
        """To `host:port`, asked for at each connection."""

        async def connect() -> Streams:
            host, port = address().rsplit(":", 1)
            return await asyncio.open_connection(host, int(port))

        return cls(connect)

    @classmethod
    def to_socket(cls, path: str) -> Self:
        """To a Unix socket."""
        return cls(lambda: asyncio.open_unix_connection(path))

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def heal(self) -> None:
        """Everything passes at once. What was dropped is lost with its connection: half of a message is worse than none."""
        dropped = self.mode == "drop"
        self.mode, self.delay = "pass", 0.0
        self._passing.set()
        if dropped:
            self.reset()

    def drop(self) -> None:
        self.mode = "drop"
        self._passing.clear()

    def refuse(self) -> None:
        self.mode = "refuse"
        self.reset()

    def reset(self) -> int:
        """Ends every open connection with RST; how many."""
        found = list(self._writers)
        for writer in found:
            _abort(writer)
        return len(found) // 2

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        if self.mode == "refuse":
            _abort(writer)
            return
        try:
            there, back = await self._connect()
        except OSError:
            _abort(writer)
            return
        ends = {writer, back}
        self._writers |= ends
        pumps = [asyncio.create_task(self._pump(reader, back)), asyncio.create_task(self._pump(there, writer))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._writers -= ends
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for end in ends:
                with contextlib.suppress(OSError):
                    end.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                await self._passing.wait()
                if self.delay:
                    await asyncio.sleep(self.delay)
                writer.write(data)
                await writer.drain()


def _abort(writer: asyncio.StreamWriter) -> None:
    found = writer.get_extra_info("socket")
    if found is not None and found.family != socket.AF_UNIX:
        with contextlib.suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
