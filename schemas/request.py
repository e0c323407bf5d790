"""What every request has, and where a run's request came from."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    model_validator,
)

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _printable(user_id: str) -> str:
    if _CONTROL.search(user_id):
        raise ValueError("a user ID has no control characters")
    return user_id


UserId = Annotated[str, StringConstraints(min_length=1, max_length=128), AfterValidator(_printable)]


def _from_milliseconds(time: Any) -> Any:
    """A number from a writer whose schema lacks the logical type; pydantic alone would take a small one for seconds."""
    if isinstance(time, int) and not isinstance(time, bool):
        try:
            return _EPOCH + timedelta(milliseconds=time)
        except OverflowError as error:
            raise ValueError(f"{time} milliseconds since 1970 are outside of the calendar") from error
    return time


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Time = Annotated[AwareDatetime, BeforeValidator(_from_milliseconds)]


def _not_nil(event_id: UUID) -> UUID:
    if event_id.int == 0:
        raise ValueError("the nil UUID identifies nothing: draw a fresh UUID for each request")
    return event_id


EventId = Annotated[UUID, AfterValidator(_not_nil)]


class Model(BaseModel):
    """What processes hand each other through Temporal, as JSON; bytes travel as base64 in it.

    Open: while one half of a fleet is of a newer version, the older half reads past what it does not know, as Avro does. So a new field has
    a default, and means nothing that an older reader may not leave out.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_bytes="base64", val_json_bytes="base64")


class Request(Model):
    """The fields that every request record has."""

    event_id: EventId
    user_id: UserId
    requested_at: Time

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_misspelt(cls, given: Any, info: ValidationInfo) -> Any:
        """In Python, where somebody makes a request. JSON is another process's, and may be of a newer version."""
        if info.mode == "python" and isinstance(given, dict) and cls.model_config.get("extra") == "ignore":
            unknown = sorted(given.keys() - cls.model_fields.keys())
            if unknown:
                raise ValueError(f"there is no field {', '.join(map(repr, unknown))}; there are {', '.join(cls.model_fields)}")
        return given


class OpenRequest(Request):
    """A request of which only the common fields are known here: those of a team's own route."""

    model_config = ConfigDict(extra="allow")


class Origin(Model):
    """The record that a run was started from."""

    topic: str
    partition: int
    offset: int
    key: bytes | None = None
    """The record's Kafka key; the completion carries the same."""
    traceparent: str | None = None


R = TypeVar("R", bound=Request)

Generation = Annotated[int, Field(ge=1, exclude_if=lambda generation: generation == 1)]
"""1 for the run that the ingress starts; one more for each time that an operator has had a failed run started again.

The first is not written: its JSON stays as it always was, so that a worker of the version before still reads it.
"""


class Accepted(Model, Generic[R]):
    """The one argument of every workflow that the ingress starts. As JSON: `{"request": {...}, "origin": {...}}`.

    A later generation's has `"generation": 2` as well; the first one's JSON stays as it always was.
    """

    request: R
    origin: Origin | None
    """None: no record asked for this run by itself, so it is not completed by itself either; a child of a batch, for example."""
    generation: Generation = 1


def what_is_wrong(error: ValidationError) -> str:
    """Each field that a model refuses, and why. It repeats no value: a header or a log names what is wrong, not the payload."""
    return "; ".join(
        f"{'.'.join(map(str, found['loc'])) or 'request'}: {found['msg'].removeprefix('Value error, ')}"
        for found in error.errors(include_input=False, include_url=False, include_context=False)
    )


def milliseconds(time: datetime) -> datetime:
    """`time` as Avro's timestamp-millis keeps it."""
    return time.replace(microsecond=time.microsecond // 1000 * 1000)
