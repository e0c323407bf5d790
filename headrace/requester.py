"""For a service that wants an answer: sends a request and waits for its completion."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from aiokafka.errors import KafkaError

from headrace import kafka
from headrace.completions import Received, read
from headrace.producer import RequestProducer
from headrace.settings import Settings
from headrace.wire import Wire
from schemas.request import Request
from schemas.topics import Topics

_POLL_MS = 500


class Requester:
    """Requests with their completions, many at a time over one producer and one consumer.

        async with Requester(settings, wire, ["image"]) as requester:
            received = await requester.request(ImageGenerationRequested(...), seconds=60)

    Entering raises `aiokafka.errors.KafkaError` when no broker answers or a topic is missing. No consumer group is joined.
    """

    def __init__(self, settings: Settings, wire: Wire, domains: Sequence[str]) -> None:
        self._settings = settings
        self._wire = wire
        self._topics = [Topics(settings.topic_prefix).completions(domain) for domain in domains]
        self._waiting: dict[UUID, asyncio.Future[Received]] = {}

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as opened:
            partitions = await kafka.partitions(self._settings, self._topics)
            self._consumer = kafka.consumer(self._settings, isolation_level="read_committed")
            opened.push_async_callback(self._stop_consumer)
            await self._consumer.start()
            self._consumer.assign(partitions)
            # From here on, and not from the first fetch on: a completion may be quicker than that.
            for partition, end in (await self._consumer.end_offsets(partitions)).items():
                self._consumer.seek(partition, end)
            self._producer = await opened.enter_async_context(RequestProducer(self._settings, self._wire))
            self._reading = asyncio.create_task(self._read(), name="completions")
            self._opened = opened.pop_all()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._reading.cancel()
        await asyncio.wait([self._reading])
        await self._opened.aclose()

    async def request(self, request: Request, *, seconds: float, **options: Any) -> Received:
        """The completion of a request, whatever its status. `options` are those of `RequestProducer.send`.

        An event ID that was completed before this object was entered is not completed again: look it up with
        `headrace.completions.completions(event_id=...)`.

        Raises `TimeoutError`: the request is sent and goes on, ask again with the same event ID or follow the completions. Raises
        `ValueError` for an event ID that is being waited for already, and what `RequestProducer.send` raises.
        """
        if request.event_id in self._waiting:
            raise ValueError(f"event ID {request.event_id} is being waited for already")
        answer: asyncio.Future[Received] = asyncio.get_running_loop().create_future()
        self._waiting[request.event_id] = answer
        try:
            async with asyncio.timeout(seconds):
                await self._producer.send(request, **options)
                first: set[asyncio.Future[Any]] = {answer, self._reading}
                await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
                if not answer.done():
                    self._reading.result()  # raises what ended it
                return answer.result()
        finally:
            del self._waiting[request.event_id]

    async def _read(self) -> None:
        while True:
            for records in (await self._consumer.getmany(timeout_ms=_POLL_MS)).values():
                for record in records:
                    received = await read(self._wire, record)
                    answer = None if received is None else self._waiting.get(received.completion["event_id"])
                    if answer is not None and received is not None and not answer.done():
                        answer.set_result(received)

    async def _stop_consumer(self) -> None:
        with contextlib.suppress(KafkaError, TimeoutError):
            await asyncio.wait_for(self._consumer.stop(), 5)
