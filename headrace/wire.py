"""Records to bytes and back: Confluent's frame when a schema registry is configured, Avro single-object encoding when there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.settings import Settings
from schemas import codec
from schemas.catalog import Catalog
from schemas.codec import Schema
from schemas.errors import Reason, Rejected

if TYPE_CHECKING:
    from headrace.registry import Registry


def subject(topic: str, record: str) -> str:
    """Where a registry keeps the versions of a record: Confluent's TopicRecordNameStrategy, since a topic takes more than one record."""
    return f"{topic}-{record}"


@dataclass(frozen=True, slots=True)
class Decoded:
    """One record's value."""

    record: str
    """Full name of the record it was written as."""
    value: dict[str, Any]


class Wire:
    """Both frames are understood on the way in; one of them is written."""

    def __init__(self, catalog: Catalog, registry: Registry | None = None) -> None:
        self.catalog = catalog
        self._registry = registry

    @classmethod
    def of(cls, settings: Settings, catalog: Catalog) -> Wire:
        if not settings.schema_registry_url:
            return cls(catalog)
        # Its HTTP client costs a command a tenth of a second, and most have no registry.
        from headrace.registry import Registry

        return cls(catalog, Registry.of(settings))

    async def close(self) -> None:
        if self._registry is not None:
            await self._registry.close()

    async def decode(self, data: bytes | None) -> Decoded:
        """The record in `data`, resolved to the schema that this process knows under its name.

        Raises `Rejected` (UNDECODABLE, UNKNOWN_SCHEMA), and `Transient` while the registry does not answer.
        """
        frame = codec.unframe(data)
        return self._resolved(frame, await self._writer(frame))

    def decode_at_once(self, data: bytes | None) -> Decoded | None:
        """The same without waiting: None when the registry has to be asked first. Raises `Rejected`."""
        frame = codec.unframe(data)
        if isinstance(frame, codec.SingleObject):
            return self._resolved(frame, self._by_fingerprint(frame))
        writer = self._of_registry(frame).known(frame.schema_id)
        return None if writer is None else self._resolved(frame, writer)

    async def encode(self, topic: str, record: str, value: dict[str, Any]) -> bytes:
        """`value` as a framed record. With a registry its schema's ID is that under `subject`, where it is registered when it is new.

        Raises `ValueError` for a value that is not the record, which is `SchemaRefusedError` for a schema that the registry refuses, and
        `Transient` while the registry does not answer or this key may not register.
        """
        schema = self.catalog.named(record)
        body = codec.encode_body(schema, value)
        if self._registry is None:
            return codec.frame_single_object(schema, body)
        return codec.frame_confluent(await self._registry.register(subject(topic, record), schema.versions[-1]), body)

    def _resolved(self, frame: codec.SingleObject | codec.Confluent, writer: Schema) -> Decoded:
        reader = self.catalog.by_name(writer.name)
        value = codec.decode_body(frame.body, writer, reader)
        if reader is not None and reader.fingerprint != writer.fingerprint:
            value = _in_the_words_of(reader, value)
        return Decoded(writer.name, value)

    async def _writer(self, frame: codec.SingleObject | codec.Confluent) -> Schema:
        if isinstance(frame, codec.SingleObject):
            return self._by_fingerprint(frame)
        return await self._of_registry(frame).schema(frame.schema_id)

    def _by_fingerprint(self, frame: codec.SingleObject) -> Schema:
        schema = self.catalog.by_fingerprint(frame.fingerprint)
        if schema is None:
            raise Rejected(
                Reason.UNKNOWN_SCHEMA,
                f"no schema has the fingerprint {frame.fingerprint.hex()}: add its .avsc to a route or beside it as a past version,"
                " or send through a schema registry",
            )
        return schema

    def _of_registry(self, frame: codec.Confluent) -> Registry:
        if self._registry is None:
            raise Rejected(Reason.UNKNOWN_SCHEMA, f"schema ID {frame.schema_id} needs a schema registry: set HEADRACE_SCHEMA_REGISTRY_URL")
        return self._registry


def _in_the_words_of(reader: Schema, value: dict[str, Any]) -> dict[str, Any]:
    """The value as a writer with the reader's schema would have sent it: a time that came as a plain `long` is a time.

    Two encodings of one event must not look like two events. What does not fit stays as it is: the request's model says what is wrong.
    """
    try:
        return codec.decode_body(codec.encode_body(reader, value), reader)
    except (ValueError, Rejected):
        return value
