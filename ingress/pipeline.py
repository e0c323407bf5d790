"""One record on its way: fetch, decode, claim, its turn, start or signal, settle; or its dead letter. What passes is tried again."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Protocol, TypeVar
from uuid import UUID

import structlog
from aiokafka import ConsumerRecord

from headrace import tracing
from ingress import metrics
from ingress.breaker import Breakers, Ticket
from ingress.dead_letter import DeadLetters, burial
from ingress.decode import Command, Decoder, Event, RejectedEvent
from ingress.disposition import DeadLettered, Disposition, Duplicate, Signalled, Started, word
from ingress.errors import Busy
from ingress.fetch import Fetcher
from ingress.gate import Gate
from ingress.lanes import Lanes, Turn
from ingress.ledger import Claim, Entry, Ledger
from ingress.limit import AdaptiveLimit
from ingress.rejection import Receipt, Rejections
from ingress.room import Load
from ingress.start import Starter
from schemas.command import WorkflowCommandIssued
from schemas.errors import Reason, Rejected, Transient
from schemas.event import lightened

log = structlog.get_logger(__name__)

T = TypeVar("T")

_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0


class Signaller(Protocol):
    """`ingress.signal.Signaller`."""

    async def signal(self, command: WorkflowCommandIssued) -> Signalled: ...


@dataclass(slots=True)
class Work:
    """A record that was read and has no disposition yet."""

    record: ConsumerRecord
    found: Event | Command | Rejected | None
    """What the record asks for; None until its value has been fetched, or the schema registry asked."""
    turn: Turn
    ticket: Ticket
    load: Load | None = None
    """Of a record whose value lies somewhere else."""
    claimed: UUID | None = None
    """Its event, when the ledger's row of it names this record as the first."""
    begun: bool = False
    """Whether Temporal or the dead letters may have it already: then it is worth waiting for its end."""


class Pipeline:
    """Gives each record its disposition."""

    def __init__(
        self,
        fetcher: Fetcher,
        decoder: Decoder,
        ledger: Ledger,
        limit: AdaptiveLimit,
        starter: Starter,
        signaller: Signaller,
        breakers: Breakers,
        *,
        dead_letters: DeadLetters,
        rejections: Rejections,
    ) -> None:
        self._fetcher = fetcher
        self._decoder = decoder
        self._ledger = ledger
        self._limit = limit
        self._starter = starter
        self._signaller = signaller
        self._breakers = breakers
        self._dead_letters = dead_letters
        self._rejections = rejections
        self._lanes = Lanes()
        self._temporal = Gate("temporal")

    def begin(self, record: ConsumerRecord) -> Work:
        """Puts a record in its lanes: to be called in the order of the offsets. Costs no waiting."""
        found: Event | Command | Rejected | None
        load: Load | None = None
        try:
            load = self._fetcher.load(record)
            found = None if load else self._decoder.decode_at_once(record)
        except Rejected as error:
            found = error
        return Work(record, found, self._lanes.enter(_lanes(record, found)), self._breakers.enter(_route(found), record.topic), load)

    async def dispose(self, work: Work) -> None:
        """Returns when the record has its disposition. May be cancelled: the record is then read again by whoever has it next.

        Raises what is neither `Rejected` nor `Transient`: a fault that stops the process. It keeps its turn then, for what is behind it
        must not pass it while the process ends; whoever cancels lets it leave.
        """
        with tracing.consuming(work.record):
            outcome = await self._outcome(work)
            disposition = await self._bury(work, outcome) if isinstance(outcome, Rejected) else outcome
        work.turn.leave()
        _tell(work, disposition)

    async def _outcome(self, work: Work) -> Disposition | Rejected:
        try:
            return await self._process(work)
        except Rejected as error:
            if work.load is None:
                return error
            # It may wait for long, behind a breaker or for the dead letters, and these need none of what was fetched.
            work.found = None
            return lightened(error)

    async def _process(self, work: Work) -> Disposition:
        found = work.found
        if found is None:
            found = work.found = await self._read(work)
            # As long as it could not be read it kept every order.
            work.turn.keep(_lanes(work.record, found))
        if isinstance(found, Rejected):
            raise found
        entry = await self._ledger.claim(_claim(work.record, found))
        disposition = _known(work.record, found, entry)
        if disposition is None:
            work.claimed = entry.event_id if _is_place_of(entry, work.record) else None
            disposition = await self._carry_out(work, found)
        return disposition

    async def _read(self, work: Work) -> Event | Command:
        record, load = work.record, work.load
        value = record.value
        if load is not None:
            await load.come()
            await load.take(await self._patiently(work, lambda: self._fetcher.measure(load)))
            value = await self._patiently(work, lambda: self._fetcher.fetch(record, load))
        return await self._patiently(work, lambda: self._decoder.decode(record, value))

    async def _carry_out(self, work: Work, found: Event | Command) -> Disposition:
        """Asks Temporal, in turn, and settles the event's row; its offset may be committed only after that."""
        await work.turn.come()
        done: Started | Duplicate | Signalled
        try:
            if isinstance(found, Event):
                done = await self._patiently(work, lambda: self._start(work, found))
            else:
                done = await self._patiently(work, lambda: self._signaller.signal(found.request))
        except Rejected as error:
            raise _refused(error, found) from error
        work.begun = True
        # The next record of the key need not wait for the row.
        work.turn.leave()
        await self._ledger.settle(found.request.event_id, _settled(done), done.workflow_id, done.run_id)
        if isinstance(done, Signalled) and work.claimed:
            return done
        # Who was first is the ledger's to say: after a crash or a lost answer a record finds the run that it has started itself.
        return (Started if work.claimed else Duplicate)(done.event_id, done.workflow_id, done.run_id)

    async def _start(self, work: Work, event: Event) -> Started | Duplicate:
        await self._limit.acquire()
        try:
            return await self._temporal.through(lambda: self._call(work, event))
        finally:
            self._limit.release()

    async def _call(self, work: Work, event: Event) -> Started | Duplicate:
        work.begun = True
        began = time.perf_counter()
        try:
            done = await self._starter.start(work.record, event)
        except Busy:
            self._limit.overloaded(time.perf_counter() - began)
            raise
        took = time.perf_counter() - began
        self._limit.succeeded(took)
        metrics.START_SECONDS.observe(took)
        if isinstance(done, Duplicate):
            metrics.REPEATED_STARTS.inc()
        return done

    async def _bury(self, work: Work, error: Rejected) -> DeadLettered:
        """The dead letter, and the receipt for whoever sent it; then the event's ID is free again."""
        # Its key need not wait for the dead letters.
        work.turn.leave()
        record, refused = work.record, error if isinstance(error, RejectedEvent) else None
        receipt = self._rejections.receipt(record, error)
        if work.load is not None:
            work.load.leave()
        while self._breakers.is_open(work.ticket.route):
            await self._breakers.until_closed(work.ticket.route)
        self._breakers.dead_lettered(work.ticket, error.reason, error.message)
        work.begun = True
        dead = await self._patiently(work, lambda: self._dead_letters.send(record, error, receipt.in_words()))
        if isinstance(receipt, Receipt):
            await self._patiently(work, lambda: self._rejections.send(receipt))
        metrics.RECEIPTS.labels(record.topic, "sent" if isinstance(receipt, Receipt) else receipt.outcome).inc()
        await self._ledger.bury(burial(record, error, dead, receipt))
        if work.claimed is not None:
            await self._ledger.settle(work.claimed, "rejected", None, None)
        return DeadLettered(error.reason, error.message, None if refused is None else refused.value.get("event_id"))

    async def _patiently(self, work: Work, attempt: Callable[[], Awaitable[T]]) -> T:
        """The answer, asked for again with growing, jittered pauses while it is `Transient`."""
        wait = _FIRST_WAIT
        while True:
            try:
                return await attempt()
            except Transient as error:
                work.begun = False
                metrics.TRANSIENT.labels(work.record.topic).inc()
                record = work.record
                log.warning(
                    "record_waits", topic=record.topic, partition=record.partition, offset=record.offset, error=str(error), seconds=wait
                )
                # Many records that wait for the same server must not come back together.
                await asyncio.sleep(random.uniform(wait / 2, wait))  # noqa: S311 - not a secret
                wait = min(wait * 2, _LONGEST_WAIT)


def _lanes(record: ConsumerRecord, found: Event | Command | Rejected | None) -> list[Hashable]:
    """In which order a record is carried out; one that cannot be read yet may be of any route, so it keeps every order."""
    if isinstance(found, Rejected):
        return []
    order = found.route.order if isinstance(found, Event) else "key" if isinstance(found, Command) else "partition"
    place = (record.topic, record.partition)
    lanes: list[Hashable] = [] if record.key is None or order == "none" else [(*place, record.key)]
    return [*lanes, place] if order == "partition" else lanes


def _claim(record: ConsumerRecord, found: Event | Command) -> Claim:
    return Claim(found.request.event_id, found.record, found.payload_sha256, record.topic, record.partition, record.offset)


def _is_place_of(entry: Entry, record: ConsumerRecord) -> bool:
    return (entry.offset, entry.partition, entry.topic) == (record.offset, record.partition, record.topic)


def _known(record: ConsumerRecord, found: Event | Command, entry: Entry) -> Disposition | None:
    """What the ledger alone can say; None when Temporal has to be asked. Raises `RejectedEvent(ID_CONFLICT)`."""
    if entry.payload_sha256 != found.payload_sha256 or entry.record != found.record:
        first = f"{entry.record} at {entry.topic}, partition {entry.partition}, offset {entry.offset}"
        message = f"event ID {entry.event_id} is that of another event, {first}: send each event under an ID of its own"
        raise RejectedEvent(
            Rejected(Reason.ID_CONFLICT, message), found.record, found.request.model_dump(), (entry.topic, entry.partition, entry.offset)
        )
    if entry.disposition == "pending":
        return None
    kind = Duplicate if not _is_place_of(entry, record) else Signalled if entry.disposition == "signalled" else Started
    return kind(entry.event_id, entry.workflow_id or "", entry.run_id)


def _settled(done: Started | Duplicate | Signalled) -> str:
    return "signalled" if isinstance(done, Signalled) else "started"


def _refused(error: Rejected, found: Event | Command) -> RejectedEvent:
    return RejectedEvent(error, found.record, found.request.model_dump())


def _route(found: Event | Command | Rejected | None) -> str | None:
    """The route by which a record is counted; None for one that has none, or cannot be read yet."""
    if isinstance(found, Event | Command):
        return found.record
    return found.record if isinstance(found, RejectedEvent) and found.reason is not Reason.UNROUTABLE else None


def _tell(work: Work, disposition: Disposition) -> None:
    record, spelt = work.record, word(disposition)
    metrics.RECORDS.labels(record.topic, work.ticket.route, spelt).inc()
    if isinstance(disposition, DeadLettered):
        metrics.DEAD_LETTERS.labels(record.topic, disposition.reason).inc()
        more: dict[str, str | None] = {"reason": disposition.reason}
    else:
        more = {"workflow_id": disposition.workflow_id, "run_id": disposition.run_id}
    log.info(
        "record_disposed",
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        disposition=spelt,
        event_id=str(disposition.event_id),
        **more,
    )
