"""One record on its way: decode, route, start; or its dead letter. What passes is tried again until it works."""

from __future__ import annotations

import asyncio
import contextlib
import random

import structlog
from aiokafka import ConsumerRecord

from ingress import metrics
from ingress.dead_letter import DeadLetters
from ingress.decode import Decoder, RejectedEvent
from ingress.disposition import DeadLettered, Disposition, word
from ingress.rejection import Rejections
from ingress.start import Starter
from schemas.errors import Rejected, Transient

log = structlog.get_logger(__name__)

_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0


class Pipeline:
    """Gives each record its disposition."""

    def __init__(self, decoder: Decoder, starter: Starter, dead_letters: DeadLetters, rejections: Rejections) -> None:
        self._decoder = decoder
        self._starter = starter
        self._dead_letters = dead_letters
        self._rejections = rejections

    async def dispose(self, record: ConsumerRecord, given_up: asyncio.Event) -> bool:
        """Whether the record has its disposition; False when `given_up` was set first, and it will be read again.

        Raises what is neither `Rejected` nor `Transient`: a fault that stops the process.
        """
        bound = log.bind(topic=record.topic, partition=record.partition, offset=record.offset)
        wait = _FIRST_WAIT
        while True:
            try:
                disposition = await self._try(record)
            except Transient as error:
                metrics.TRANSIENT.labels(record.topic).inc()
                bound.warning("record_waits", error=str(error), seconds=wait)
                # Full jitter: many records that wait for the same server must not come back together.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(given_up.wait(), random.uniform(wait / 2, wait))  # noqa: S311 - not a secret
                if given_up.is_set():
                    return False
                wait = min(wait * 2, _LONGEST_WAIT)
            else:
                _tell(bound, record, disposition)
                return True

    async def _try(self, record: ConsumerRecord) -> Disposition:
        try:
            event = await self._decoder.decode(record)
            with metrics.START_SECONDS.time():
                try:
                    return await self._starter.start(record, event)
                except Rejected as rejected:
                    raise RejectedEvent(rejected, event.route.record, event.request.model_dump()) from rejected
        except Rejected as error:
            await self._dead_letters.send(record, error)
            if not isinstance(error, RejectedEvent):
                return DeadLettered(error.reason, error.message, None)
            await self._rejections.send(record, error)
            return DeadLettered(error.reason, error.message, error.value.get("event_id"))


def _tell(bound: structlog.typing.FilteringBoundLogger, record: ConsumerRecord, disposition: Disposition) -> None:
    metrics.RECORDS.labels(record.topic, word(disposition)).inc()
    if isinstance(disposition, DeadLettered):
        metrics.DEAD_LETTERS.labels(record.topic, disposition.reason).inc()
        bound.info("record_disposed", disposition=word(disposition), reason=disposition.reason, event_id=str(disposition.event_id))
        return
    bound.info(
        "record_disposed",
        disposition=word(disposition),
        event_id=str(disposition.event_id),
        workflow_id=disposition.workflow_id,
        run_id=disposition.run_id,
    )
