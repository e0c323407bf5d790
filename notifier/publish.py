"""The activity that publishes a completion, once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio import activity
from temporalio.exceptions import ApplicationError

from headrace import tracing
from headrace.wire import Wire
from notifier.decisions import Decisions
from notifier.producer import Message, OnceProducer, database_error
from schemas import codec, headers, models, names
from schemas.completion import Completion, OpenCompletion, Published, SendCompletion, Status
from schemas.errors import FailureType, Transient, bounded
from schemas.from_json import from_json
from schemas.topics import Topics

SOURCE = "headrace/notifier"


class CompletionActivities:
    """How an event ended is decided by the row in `completions`, before anything is sent: whoever comes later sends the same record."""

    def __init__(self, engine: AsyncEngine, producer: OnceProducer, wire: Wire, topics: Topics) -> None:
        self._decisions = Decisions(engine)
        self._producer = producer
        self._wire = wire
        self._topics = topics

    @activity.defn(name=names.SEND_COMPLETION)
    async def send_completion_notification(self, command: SendCompletion) -> Published:
        """Raises `ApplicationError`, non-retryable for a completion that is not its record."""
        activity.heartbeat()
        return (await self.publish(command, activity.heartbeat))[0]

    @activity.defn(name=names.NOTIFY_USER)
    async def notify_user(self, command: SendCompletion) -> Published:
        """The same, under the name that the learning path gives it."""
        return await self.send_completion_notification(command)

    async def publish(self, command: SendCompletion, beat: Callable[[], None]) -> tuple[Published, Status | None]:
        """Where the event's completion is, and what it says: this one unless another was decided before. Raises `ApplicationError`."""
        completion = self._validated(command)
        message = await self._message(command, completion)
        try:
            decided = await self._decisions.decide(message, completion.status)
        except (SQLAlchemyError, OSError) as error:
            raise database_error(error) from error
        if decided.place is not None:
            return decided.place, decided.status
        assert decided.message is not None  # noqa: S101 - the table's rule: one or the other
        return await self.deliver(decided.message, beat), decided.status

    async def deliver(self, decided: Message, beat: Callable[[], None]) -> Published:
        """Sends what was decided. Raises `ApplicationError`; one that Kafka will never take is decided no more."""
        try:
            return await self._producer.publish(decided, lambda place: self._decisions.acknowledged(decided, place), beat)
        except ApplicationError as error:
            if error.non_retryable:
                try:
                    await self._decisions.withdraw(decided)
                except (SQLAlchemyError, OSError) as away:
                    raise database_error(away) from error
            raise

    async def undelivered(self, before: datetime, at_most: int) -> list[Message]:
        """What was decided before a moment and is not known to be published, the oldest first."""
        return await self._decisions.undelivered(before, at_most)

    async def _message(self, command: SendCompletion, completion: Completion[Any]) -> Message:
        topic = self._topics.completions(command.domain)
        return Message(
            id=completion.completion_id,
            event_id=completion.event_id,
            record=command.record,
            topic=topic,
            key=command.key,
            value=await encoded(self._wire, topic, command.record, self._fields(command.record, completion)),
            headers=headers.cloud_event(
                event_id=completion.completion_id,
                event_type=command.record,
                source=SOURCE,
                time=completion.completed_at,
                subject=str(completion.event_id),
                traceparent=tracing.traceparent() or command.traceparent,
                generation=command.generation,
            ),
        )

    def _validated(self, command: SendCompletion) -> Completion[Any]:
        model: type[Completion[Any]] | None = models.COMPLETIONS.get(command.record)
        if model is None:
            model = OpenCompletion
            if not command.record.endswith("Completed") or self._wire.catalog.by_name(command.record) is None:
                raise _wrong(
                    f"no completion record is called {command.record!r}: name its .avsc as `completion` of its route, in the file that the"
                    f" notifier has as HEADRACE_ROUTES_FILE; those that ship are {', '.join(sorted(models.COMPLETIONS))}"
                )
        try:
            return model.model_validate(command.completion)
        except ValidationError as error:
            # Without the input, which is somebody's data.
            first = error.errors(include_input=False, include_url=False)[0]
            raise _wrong(f"{command.record}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None

    def _fields(self, record: str, completion: Completion[Any]) -> dict[str, Any]:
        """What is encoded: a result without a model came through Temporal as JSON, and its schema alone knows what is a time."""
        if record in models.COMPLETIONS:
            return completion.model_dump()
        try:
            return from_json(self._wire.catalog.named(record), completion.model_dump())
        except ValueError as error:
            raise _wrong(f"{record} does not fit its Avro schema: {error}") from error


async def encoded(wire: Wire, topic: str, record: str, value: dict[str, Any]) -> bytes:
    """Raises `ApplicationError`: non-retryable for a value that its schema refuses, retryable while the registry is in the way."""
    try:
        codec.encode_body(wire.catalog.named(record), value)
    except (KeyError, ValueError) as error:
        raise _wrong(f"{record} does not fit its Avro schema: {error}") from error
    try:
        return await wire.encode(topic, record, value)
    except (Transient, ValueError) as error:  # away, or configured to refuse the schema: an operator sets it right, the completion is kept
        raise ApplicationError(str(error), type=FailureType.INTERNAL.value) from error


def _wrong(message: str) -> ApplicationError:
    return ApplicationError(bounded(message), type=FailureType.INTERNAL.value, non_retryable=True)
