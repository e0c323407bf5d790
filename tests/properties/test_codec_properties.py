"""Whatever is sent, the codec either gives the record back or says `Rejected`: anything else would stop the ingress."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import codec, headers
from schemas.catalog import shipped
from schemas.codec import Confluent, Schema, SingleObject
from schemas.errors import Rejected
from tests.support.records import MODELS, values

SCHEMAS = {schema.name: schema for schema in shipped()}
ANY = st.sampled_from(sorted(MODELS))
FEW = settings(max_examples=30, deadline=None)


@st.composite
def written(draw: st.DrawFn) -> tuple[Schema, bytes]:
    """A schema, and the body of a valid record of it."""
    schema = SCHEMAS[draw(ANY)]
    return schema, codec.encode_body(schema, draw(values(schema)))


@pytest.mark.parametrize("name", sorted(MODELS))
@given(data=st.data(), schema_id=st.integers(0, 2**32 - 1))
@FEW
def test_every_record_survives_both_frames(name: str, data: st.DataObject, schema_id: int) -> None:
    schema = SCHEMAS[name]
    value: dict[str, Any] = data.draw(values(schema))
    body = codec.encode_body(schema, value)
    single, confluent = codec.unframe(codec.frame_single_object(schema, body)), codec.unframe(codec.frame_confluent(schema_id, body))
    assert single == SingleObject(schema.fingerprint, body)
    assert confluent == Confluent(schema_id, body)
    assert MODELS[name].model_validate(codec.decode_body(body, schema, schema)) == MODELS[name].model_validate(value)


def decode(data: bytes, schema: Schema) -> None:
    """As the ingress does, whatever the fingerprint or ID says."""
    codec.decode_body(codec.unframe(data).body, schema)


@given(ANY, st.binary(max_size=300), st.sampled_from([b"", b"\x00\x00\x00\x00\x01", b"\xc3\x01" + bytes(8)]))
@settings(max_examples=100, deadline=None)
def test_random_bytes_raise_nothing_but_rejected(name: str, data: bytes, frame: bytes) -> None:
    try:
        decode(frame + data, SCHEMAS[name])
    except Rejected as error:
        assert len(error.message) <= 1000  # noqa: PT017 - not to be rejected is fine too


@given(written(), st.data())
@settings(max_examples=80, deadline=None)
def test_a_changed_byte_raises_nothing_but_rejected(valid: tuple[Schema, bytes], data: st.DataObject) -> None:
    schema, body = valid
    at = data.draw(st.integers(0, len(body) - 1))
    changed = body[:at] + bytes([data.draw(st.integers(0, 255))]) + body[at + 1 :]
    try:
        codec.decode_body(changed, schema)
    except Rejected as error:
        assert error.message.startswith((f"not a {schema.name}: ", *(f"{n} bytes follow" for n in range(1, len(body)))))  # noqa: PT017


@given(written(), st.data())
@FEW
def test_a_truncated_record_is_rejected(valid: tuple[Schema, bytes], data: st.DataObject) -> None:
    schema, body = valid
    framed = codec.frame_single_object(schema, body)
    with pytest.raises(Rejected):
        decode(framed[: data.draw(st.integers(0, len(framed) - 1))], schema)


@given(written(), st.binary(min_size=1, max_size=20))
@FEW
def test_an_appended_byte_is_rejected(valid: tuple[Schema, bytes], tail: bytes) -> None:
    schema, body = valid
    with pytest.raises(Rejected, match=f"{len(tail)} bytes follow the end"):
        codec.decode_body(body + tail, schema)


def changed(schema: Schema, change: Any) -> Schema:
    """A version of `schema` whose list of fields `change` has changed in place."""
    parsed = json.loads(schema.text)
    change(parsed["fields"])
    return Schema(json.dumps(parsed))


@given(ANY, st.data(), st.integers(0, 3))
@FEW
def test_a_newer_writers_extra_field_is_dropped(name: str, data: st.DataObject, at: int) -> None:
    reader = SCHEMAS[name]
    extra = {"name": "later", "type": {"type": "map", "values": ["null", "string"]}, "default": {}}
    writer = changed(reader, lambda fields: fields.insert(at, extra))
    value = data.draw(values(reader))
    body = codec.encode_body(writer, {**value, "later": {"a": None, "b": "c"}})
    assert codec.decode_body(body, writer, reader) == codec.decode_body(codec.encode_body(reader, value), reader)


@given(ANY, st.data())
@FEW
def test_an_older_writers_missing_field_takes_its_default(name: str, data: st.DataObject) -> None:
    reader = SCHEMAS[name]
    defaults = {field["name"]: field["default"] for field in reader.parsed["fields"] if "default" in field}
    gone = data.draw(st.sets(st.sampled_from(sorted(defaults))))

    def drop(fields: list[dict[str, Any]]) -> None:
        # A named type may be defined in a field that goes; the ones that stay define their own.
        fields[:] = [field for field in fields if field["name"] not in gone]

    writer = changed(reader, drop)
    value = data.draw(values(reader))
    body = codec.encode_body(writer, {key: kept for key, kept in value.items() if key not in gone})
    whole = codec.decode_body(codec.encode_body(reader, value), reader)
    assert codec.decode_body(body, writer, reader) == {**whole, **{field: defaults[field] for field in gone}}


@given(ANY, st.data(), st.randoms())
@FEW
def test_a_writers_order_of_fields_does_not_matter(name: str, data: st.DataObject, random: Any) -> None:
    reader = SCHEMAS[name]
    writer = changed(reader, random.shuffle)
    value = data.draw(values(reader))
    whole = codec.decode_body(codec.encode_body(reader, value), reader)
    assert codec.decode_body(codec.encode_body(writer, value), writer, reader) == whole


WORDS = st.sampled_from(["type", "name", "fields", "items", "symbols", "size", "record", "array", "R", "null", "int"])
JSON = st.recursive(
    WORDS | st.integers() | st.none(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4), max_leaves=8
)


@given(st.text(max_size=200) | JSON.map(json.dumps))
@settings(max_examples=100, deadline=None)
def test_no_text_makes_a_schema_raise_anything_but_value_error(text: str) -> None:
    try:
        Schema(text)
    except ValueError as error:
        assert len(str(error)) < 400  # noqa: PT017 - to be a schema is fine too


@given(st.lists(st.tuples(st.sampled_from(["traceparent", "ce_id", "x"]), st.none() | st.binary(max_size=80))))
@FEW
def test_no_header_makes_the_trace_raise(made: headers.Headers) -> None:
    found = headers.traceparent(made)
    assert found is None or len(found) == 55
