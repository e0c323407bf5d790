"""Avro and the two frames around it, on bytes alone.

Confluent's frame: `00`, the schema ID in 4 bytes big-endian, the Avro body. Single-object encoding (Avro 1.12 specification, "Single-object
encoding"): `C3 01`, the CRC-64-AVRO fingerprint of the writer's schema in 8 bytes little-endian, the Avro body.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import fastavro
from fastavro.schema import fingerprint, parse_schema, to_parsing_canonical_form

from schemas.errors import Reason, Rejected, bounded

_CONFLUENT = b"\x00"
_CONFLUENT_HEADER = 5
_SINGLE_OBJECT = b"\xc3\x01"
_SINGLE_OBJECT_HEADER = 10


class Schema:
    """One Avro record schema, parsed once.

    Raises `ValueError` for text that is not the JSON of a named record schema.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self.parsed: Any = parse_schema(json.loads(text))
        except Exception as error:  # fastavro and json raise a zoo; each means the same
            raise ValueError(f"not an Avro schema: {bounded(repr(error), 200)}") from error
        if not isinstance(self.parsed, dict) or self.parsed.get("type") != "record":
            raise ValueError("not an Avro record schema")
        self.name: str = self.parsed["name"]
        """Full name: namespace, dot, name."""

    @cached_property
    def fingerprint(self) -> bytes:
        """CRC-64-AVRO of the parsing canonical form, 8 bytes, in the byte order of the frame."""
        # fastavro prints the fingerprint in little-endian hex: it goes into the frame as it is.
        return bytes.fromhex(fingerprint(to_parsing_canonical_form(self.parsed), "CRC-64-AVRO"))


@dataclass(frozen=True, slots=True)
class SingleObject:
    fingerprint: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class Confluent:
    schema_id: int
    body: bytes


def unframe(data: bytes | None) -> SingleObject | Confluent:
    """Takes the frame off a record's value, told apart by the first bytes.

    Raises `Rejected(UNDECODABLE)` for anything else, a tombstone included.
    """
    if data is None:
        raise Rejected(Reason.UNDECODABLE, "the value is null (a tombstone): a request topic takes requests only")
    if data[:2] == _SINGLE_OBJECT and len(data) >= _SINGLE_OBJECT_HEADER:
        return SingleObject(data[2:_SINGLE_OBJECT_HEADER], data[_SINGLE_OBJECT_HEADER:])
    if data[:1] == _CONFLUENT and len(data) >= _CONFLUENT_HEADER:
        return Confluent(int.from_bytes(data[1:_CONFLUENT_HEADER], "big"), data[_CONFLUENT_HEADER:])
    raise Rejected(
        Reason.UNDECODABLE,
        f"{len(data)} bytes starting with {data[:10].hex(' ') or 'nothing'} are neither Avro single-object encoding"
        " (c3 01 and a fingerprint) nor Confluent's wire format (00 and a schema ID)",
    )


def decode_body(body: bytes, writer: Schema, reader: Schema | None = None) -> dict[str, Any]:
    """The record in `body`, resolved to the reader's schema.

    Raises `Rejected(UNDECODABLE)` for bytes that are not the writer's schema, with trailing bytes, or that do not resolve.
    """
    stream = io.BytesIO(body)
    resolve_to = None if reader is None or reader.fingerprint == writer.fingerprint else reader.parsed
    try:
        value = fastavro.schemaless_reader(stream, writer.parsed, resolve_to)
    except Exception as error:  # EOFError, IndexError, ValueError, OverflowError, ...: no common base
        raise Rejected(Reason.UNDECODABLE, f"not a {writer.name}: {bounded(repr(error), 200)}") from error
    if stream.tell() != len(body):
        raise Rejected(Reason.UNDECODABLE, f"{len(body) - stream.tell()} bytes follow the end of the {writer.name}")
    assert isinstance(value, dict)  # noqa: S101 - Schema takes records only
    return value


def encode_body(schema: Schema, value: dict[str, Any]) -> bytes:
    """Raises `ValueError` that names what does not fit the schema."""
    stream = io.BytesIO()
    try:
        fastavro.schemaless_writer(stream, schema.parsed, value, strict=True)
    except Exception as error:  # as above
        raise ValueError(f"not a {schema.name}: {bounded(repr(error), 300)}") from error
    return stream.getvalue()


def frame_single_object(schema: Schema, body: bytes) -> bytes:
    return _SINGLE_OBJECT + schema.fingerprint + body


def frame_confluent(schema_id: int, body: bytes) -> bytes:
    return _CONFLUENT + schema_id.to_bytes(4, "big") + body
