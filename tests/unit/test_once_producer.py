"""One send for each ID, with a producer at the port that acknowledges when the test says so."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from aiokafka.errors import KafkaError, OutOfOrderSequenceNumber
from sqlalchemy.exc import OperationalError
from temporalio.exceptions import ApplicationError

from headrace.idempotent import RecordRefused
from notifier.producer import Message, OnceProducer
from schemas.completion import Published
from schemas.headers import Headers
from tests.support.eventually import eventually

PLACE = Published(topic="image.completions", partition=2, offset=7)


class Gate:
    """A producer whose acknowledgements wait for the test."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.open = asyncio.Event()
        self.error: KafkaError | None = None

    async def send(self, topic: str, *, key: bytes | None, value: bytes, headers: Headers) -> Published:
        del topic, key, headers
        self.sent.append(value)
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return PLACE


class Ledger:
    def __init__(self) -> None:
        self.kept: list[Published] = []
        self.error: Exception | None = None

    async def keep(self, place: Published) -> None:
        if self.error is not None:
            raise self.error
        self.kept.append(place)


def message() -> Message:
    return Message(id=uuid4(), event_id=uuid4(), record="r.C", topic="image.completions", key=None, value=b"value", headers=[])


def silent() -> None:
    pass


async def test_retry_while_the_send_is_pending_does_not_send_twice() -> None:
    gate, ledger, given = Gate(), Ledger(), message()
    once = OnceProducer(gate, seconds=0.05)
    for _ in range(2):
        with pytest.raises(ApplicationError, match="has not acknowledged") as caught:
            await once.publish(given, ledger.keep, silent)
        assert not caught.value.non_retryable
    gate.open.set()
    assert await once.publish(given, ledger.keep, silent) == PLACE
    assert gate.sent == [b"value"]
    assert ledger.kept == [PLACE]


async def test_late_acknowledgement_is_written_down_although_nobody_waits() -> None:
    gate, ledger = Gate(), Ledger()
    once = OnceProducer(gate, seconds=0.01)
    with pytest.raises(ApplicationError):
        await once.publish(message(), ledger.keep, silent)
    gate.open.set()
    await eventually(lambda: ledger.kept == [PLACE])


async def test_concurrent_attempts_share_one_send() -> None:
    gate, ledger, given = Gate(), Ledger(), message()
    once = OnceProducer(gate)
    attempts = [asyncio.create_task(once.publish(given, ledger.keep, silent)) for _ in range(5)]
    await eventually(lambda: gate.sent)
    gate.open.set()
    assert await asyncio.gather(*attempts) == [PLACE] * 5
    assert len(gate.sent) == len(ledger.kept) == 1


async def test_cancelled_attempt_does_not_end_the_send() -> None:
    gate, ledger, given = Gate(), Ledger(), message()
    once = OnceProducer(gate)
    attempt = asyncio.create_task(once.publish(given, ledger.keep, silent))
    await eventually(lambda: gate.sent)
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    gate.open.set()
    await eventually(lambda: ledger.kept == [PLACE])


async def test_database_away_after_the_acknowledgement_does_not_send_twice() -> None:
    gate, ledger, given = Gate(), Ledger(), message()
    gate.open.set()
    once = OnceProducer(gate)
    ledger.error = OperationalError("INSERT prompt", {"prompt": "secret"}, Exception("database is locked"))
    with pytest.raises(ApplicationError, match=r"the database does not answer: database is locked; ") as caught:
        await once.publish(given, ledger.keep, silent)
    assert not caught.value.non_retryable
    ledger.error = None
    assert await once.publish(given, ledger.keep, silent) == PLACE
    assert len(gate.sent) == 1
    assert ledger.kept == [PLACE]


async def test_refused_record_is_not_tried_again() -> None:
    gate = Gate()
    gate.open.set()
    gate.error = RecordRefused("too large")
    with pytest.raises(ApplicationError, match="too large") as caught:
        await OnceProducer(gate).publish(message(), Ledger().keep, silent)
    assert caught.value.non_retryable


async def test_failed_send_is_sent_again_by_the_next_attempt() -> None:
    gate, ledger, given = Gate(), Ledger(), message()
    gate.open.set()
    gate.error = OutOfOrderSequenceNumber()
    once = OnceProducer(gate)
    with pytest.raises(ApplicationError, match="OutOfOrder") as caught:
        await once.publish(given, ledger.keep, silent)
    assert not caught.value.non_retryable
    gate.error = None
    assert await once.publish(given, ledger.keep, silent) == PLACE
    assert len(gate.sent) == 2


async def test_waiting_attempt_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("notifier.producer._BEAT_SECONDS", 0.01)
    gate, beats = Gate(), 0

    def beat() -> None:
        nonlocal beats
        beats += 1
        if beats == 3:
            gate.open.set()

    assert await OnceProducer(gate).publish(message(), Ledger().keep, beat) == PLACE
    assert beats == 3


async def test_close_does_not_wait_for_a_broker_that_stays_away() -> None:
    gate = Gate()
    once = OnceProducer(gate)
    attempt = asyncio.create_task(once.publish(message(), Ledger().keep, silent))
    await eventually(lambda: gate.sent)
    await asyncio.wait_for(once.close(0.01), 2)
    with pytest.raises(ApplicationError, match="stopping"):
        await attempt
