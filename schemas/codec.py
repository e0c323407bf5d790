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
from fastavro.validation import ValidationError, validate

from schemas.errors import Reason, Rejected, bounded

_CONFLUENT = b"\x00"
_CONFLUENT_HEADER = 5
_SINGLE_OBJECT = b"\xc3\x01"
_SINGLE_OBJECT_HEADER = 10

_PRIMITIVE_BYTES = {"null": 0, "float": 4, "double": 8}
"""The fewest bytes of a value; 1 for every other."""


class Schema:
    """One Avro record schema, parsed once, and the versions that were published before it.

    Raises `ValueError` for text that is not the JSON of a named record schema, and for a schema with which a few bytes could end the
    process: one that contains itself (a deep value overflows the C stack of fastavro), or an array of items of no bytes (its length is
    then any number that a sender likes).
    """

    def __init__(self, text: str, past: tuple[Schema, ...] = ()) -> None:
        self.text = text
        self.past = past
        try:
            self.parsed: Any = parse_schema(json.loads(text))
        except Exception as error:  # fastavro and json raise a zoo; each means the same
            raise ValueError(f"not an Avro schema: {_words(error)}") from error
        if not isinstance(self.parsed, dict) or self.parsed.get("type") != "record":
            raise ValueError("not an Avro record schema")
        self.name: str = self.parsed["name"]
        """Full name: namespace, dot, name."""
        try:
            _size(self.parsed, {})
        except RecursionError as error:
            raise ValueError(f"{self.name} is nested too deep") from error

    @cached_property
    def fingerprint(self) -> bytes:
        """CRC-64-AVRO of the parsing canonical form, 8 bytes, in the byte order of the frame."""
        # fastavro prints the fingerprint in little-endian hex: it goes into the frame as it is.
        return bytes.fromhex(fingerprint(to_parsing_canonical_form(self.parsed), "CRC-64-AVRO"))

    @cached_property
    def versions(self) -> tuple[Schema, ...]:
        """Every version, oldest first; the last is this one, or the published one that differs from it in nothing but docs."""
        if self.past and meaning(json.loads(self.past[-1].text)) == meaning(json.loads(self.text)):
            return self.past
        return (*self.past, self)


def meaning(schema: Any) -> Any:
    """A schema's JSON without its docs: they may change at any time, anything else is a new version."""
    if isinstance(schema, dict):
        return {key: meaning(value) for key, value in schema.items() if key != "doc"}
    return [meaning(item) for item in schema] if isinstance(schema, list) else schema


def _size(schema: Any, known: dict[str, int | None]) -> int:
    """The fewest bytes that a value takes; `known` has the named types met so far, None for one that is still open.

    Raises `ValueError` for what `Schema` refuses.
    """
    if isinstance(schema, list):
        return 1 + min((_size(branch, known) for branch in schema), default=0)
    if isinstance(schema, str):
        if schema in known:
            size = known[schema]
            if size is None:
                raise ValueError(f"{schema} contains itself: Headrace reads no recursive schema")
            return size
        return _PRIMITIVE_BYTES.get(schema, 1)
    match schema["type"]:
        case "record" | "error":
            known[schema["name"]] = None
            size = known[schema["name"]] = sum(_size(field["type"], known) for field in schema["fields"])
        case "enum" | "fixed":
            size = known[schema["name"]] = schema.get("size", 1)
        case "array" | "map":
            size = 1  # the end mark
            if _size(schema.get("items", schema.get("values")), known) == 0 and schema["type"] == "array":
                raise ValueError("an array of items that take no bytes has no bound: give the items a field")
        case nested:
            size = _size(nested, known)
    return size


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

    Logical types are the writer's: a `timestamp-micros` gives the right time, a plain `long` stays a number, whatever the reader calls it.
    Raises `Rejected(UNDECODABLE)` for bytes that are not the writer's schema, with trailing bytes, or that do not resolve.
    """
    stream = io.BytesIO(body)
    resolve_to = None if reader is None or reader.fingerprint == writer.fingerprint else reader.parsed
    try:
        value = fastavro.schemaless_reader(stream, writer.parsed, resolve_to)
    except Exception as error:  # EOFError, IndexError, ValueError, OverflowError, ...: no common base
        raise Rejected(Reason.UNDECODABLE, f"not a {writer.name}: {_words(error)}") from error
    if stream.tell() != len(body):
        raise Rejected(Reason.UNDECODABLE, f"{len(body) - stream.tell()} bytes follow the end of the {writer.name}")
    assert isinstance(value, dict)  # noqa: S101 - Schema takes records only
    return value


def encode_body(schema: Schema, value: dict[str, Any]) -> bytes:
    """The record as Avro; an absent field takes its default. Raises `ValueError` that names what does not fit the schema."""
    stream = io.BytesIO()
    try:
        fastavro.schemaless_writer(stream, schema.parsed, value, strict_allow_default=True)
        # The writer alone takes 1.7 for the long 1, "no" for the boolean true, and writes an int that no reader can hold.
        validate(value, schema.parsed)
    except ValidationError as error:
        # Its own text repeats the values.
        wrong = "; ".join(f"{found.field}: {type(found.datum).__name__} does not fit {found.schema}" for found in error.errors)
        raise ValueError(f"not a {schema.name}: {bounded(wrong, 300)}") from error
    except Exception as error:  # as above
        raise ValueError(f"not a {schema.name}: {_words(error)}") from error
    return stream.getvalue()


def frame_single_object(schema: Schema, body: bytes) -> bytes:
    return _SINGLE_OBJECT + schema.fingerprint + body


def frame_confluent(schema_id: int, body: bytes) -> bytes:
    return _CONFLUENT + schema_id.to_bytes(4, "big") + body


def _words(error: Exception) -> str:
    """Not its `repr`: that of a `UnicodeDecodeError` has the payload."""
    return bounded(f"{type(error).__name__}: {error}".removesuffix(": "), 300)
