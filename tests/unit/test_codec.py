from __future__ import annotations

import json
from typing import Any

import pytest

from schemas import codec
from schemas.codec import Confluent, Schema, SingleObject
from schemas.errors import Reason, Rejected


def record(*fields: dict[str, Any], name: str = "acme.R") -> Schema:
    return Schema(json.dumps({"type": "record", "name": name, "fields": list(fields)}))


def field(kind: Any, **more: Any) -> dict[str, Any]:
    return {"name": "n", "type": kind, **more}


LONG = record(field("long"))
MILLIS = record(field({"type": "long", "logicalType": "timestamp-millis"}))


def refused(data: bytes | None) -> Rejected:
    with pytest.raises(Rejected) as caught:
        codec.unframe(data)
    assert caught.value.reason is Reason.UNDECODABLE
    return caught.value


def test_fingerprint_is_crc_64_avro_in_little_endian() -> None:
    # Computed with the algorithm in the specification's own words, not with fastavro.
    empty = 0xC15D213AA4D7A795
    table = []
    for start in range(256):
        value = start
        for _ in range(8):
            value = (value >> 1) ^ (empty & -(value & 1))
        table.append(value)
    value = empty
    for byte in b'{"name":"acme.R","type":"record","fields":[{"name":"n","type":"long"}]}':
        value = (value >> 8) ^ table[(value ^ byte) & 0xFF]
    assert LONG.fingerprint == value.to_bytes(8, "little")


def test_frames_are_told_apart_by_their_first_bytes() -> None:
    assert codec.unframe(codec.frame_single_object(LONG, b"\x02")) == SingleObject(LONG.fingerprint, b"\x02")
    assert codec.unframe(codec.frame_confluent(258, b"\x02")) == Confluent(258, b"\x02")
    assert codec.frame_confluent(258, b"\x02") == bytes.fromhex("00 00000102 02")


def test_a_tombstone_is_refused_with_a_sentence() -> None:
    assert "tombstone" in refused(None).message


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x00\x00\x00\x01", b"\xc3", b"\xc3\x01\x00", b'{"event_id": 1}', b"\x01" + bytes(16)])
def test_bytes_without_a_frame_are_refused_and_shown_in_part(data: bytes) -> None:
    message = refused(data).message
    assert message.startswith(f"{len(data)} bytes starting with {data[:10].hex(' ') or 'nothing'} ")


def test_trailing_bytes_are_refused() -> None:
    with pytest.raises(Rejected, match=r"1 bytes follow the end of the acme\.R"):
        codec.decode_body(b"\x02\x00", LONG)


def test_the_text_of_a_rejection_does_not_repeat_the_payload() -> None:
    with pytest.raises(Rejected) as caught:
        codec.decode_body(b"\x0asecr\xff", record(field("string")))
    assert "UnicodeDecodeError" in caught.value.message
    assert "secr" not in str(caught.value)


def test_a_field_that_the_writer_lacks_takes_the_readers_default() -> None:
    reader = record(field("long"), {"name": "m", "type": "string", "default": "new"})
    assert codec.decode_body(b"\x02", LONG, reader) == {"n": 1, "m": "new"}


def test_a_field_that_the_reader_lacks_is_dropped() -> None:
    writer = record(field("long"), {"name": "m", "type": "string"})
    assert codec.decode_body(b"\x02\x02x", writer, LONG) == {"n": 1}


def test_schemas_that_do_not_resolve_are_undecodable() -> None:
    with pytest.raises(Rejected) as caught:
        codec.decode_body(b"\x02", LONG, record(field("boolean")))
    assert caught.value.reason is Reason.UNDECODABLE


def test_logical_types_are_the_writers() -> None:
    micros = record(field({"type": "long", "logicalType": "timestamp-micros"}))
    body = codec.encode_body(LONG, {"n": 1_700_000_000_000_000})
    assert micros.fingerprint == MILLIS.fingerprint
    assert codec.decode_body(body, micros, MILLIS)["n"].year == 2023
    assert codec.decode_body(body, LONG, MILLIS) == {"n": 1_700_000_000_000_000}


def test_an_absent_field_is_written_with_its_default() -> None:
    assert codec.encode_body(record(field("long", default=-1)), {}) == b"\x01"


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("long", 1.7, "acme.R.n: float does not fit long"),
        ("long", 2**63, "OverflowError"),
        ("int", 2**31, "acme.R.n: int does not fit int"),
        ("boolean", "no", "acme.R.n: str does not fit boolean"),
        ("double", "5", "acme.R.n: str does not fit double"),
        ("string", 5, "must be string on field n"),
        (["null", "string"], 5, "on field n"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_not_coerced(kind: Any, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=r"^not a acme\.R: ") as caught:
        codec.encode_body(record(field(kind)), {"n": value})
    assert message in str(caught.value)


@pytest.mark.parametrize(("value", "message"), [({}, "Field n is .* missing"), ({"n": 1, "secret": 2}, "more fields .*: secret")])
def test_a_missing_and_an_extra_field_are_named(value: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        codec.encode_body(LONG, value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not an Avro schema: JSONDecodeError"),
        ("[" * 100_000, "not an Avro schema: RecursionError"),
        ('"string"', "not an Avro record schema"),
        ("[]", "not an Avro record schema"),
        ('{"type": "recrd", "name": "R"}', "not an Avro schema: UnknownType"),
        ('{"type": "record"}', "not an Avro schema: .*name"),
    ],
)
def test_text_that_is_no_record_schema_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Schema(text)


def test_a_recursive_schema_is_refused_because_a_deep_value_would_end_the_process() -> None:
    with pytest.raises(ValueError, match=r"acme\.R contains itself"):
        record(field(["null", "acme.R"]))
    with pytest.raises(ValueError, match=r"acme\.R contains itself"):
        record(field({"type": "map", "values": {"type": "record", "name": "acme.S", "fields": [field({"type": "array", "items": "R"})]}}))


@pytest.mark.parametrize("items", ["null", {"type": "record", "name": "E", "fields": []}, {"type": "fixed", "name": "F", "size": 0}])
def test_an_array_of_items_of_no_bytes_is_refused_because_one_record_would_fill_the_memory(items: Any) -> None:
    with pytest.raises(ValueError, match="no bound"):
        record(field({"type": "array", "items": items}))


def test_a_schema_that_doubles_without_bytes_is_refused_because_an_empty_record_would_take_for_ever() -> None:
    nested: dict[str, Any] = {"type": "record", "name": "acme.L40", "fields": [field("null")]}
    for level in range(39, -1, -1):
        fields = [{"name": "a", "type": nested}, {"name": "b", "type": f"acme.L{level + 1}"}]
        nested = {"type": "record", "name": f"acme.L{level}", "fields": fields}
    with pytest.raises(ValueError, match="has fields and takes no bytes"):
        Schema(json.dumps(nested))


@pytest.mark.parametrize("kind", ["bytes", "fixed"])
def test_a_decimal_of_a_megabyte_is_refused_because_it_would_take_minutes(kind: str) -> None:
    schema = record(field({"type": kind, "logicalType": "decimal", "precision": 9, "scale": 2, "name": "acme.D", "size": 1_000_000}))
    body = b"\x7f" * 1_000_000 if kind == "fixed" else b"\x80\x89\x7a" + b"\x7f" * 1_000_000
    with pytest.raises(Rejected, match="a decimal of 1000000 bytes"):
        codec.decode_body(body, schema)


@pytest.mark.parametrize("kind", ["bytes", "string", {"type": "array", "items": "int"}, {"type": "map", "values": "null"}])
def test_a_length_that_is_a_lie_is_refused(kind: Any) -> None:
    with pytest.raises(Rejected):
        codec.decode_body(b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f", record(field(kind)))  # 2^62 - 1, and then nothing


def test_a_named_type_may_be_used_twice() -> None:
    pair = {"type": "record", "name": "acme.P", "fields": [field("double"), {"name": "m", "type": "float"}]}
    both = record({"name": "a", "type": pair}, {"name": "b", "type": {"type": "array", "items": "acme.P"}})
    body = codec.encode_body(both, {"a": {"n": 1.0, "m": 2.0}, "b": []})
    assert len(body) == 8 + 4 + 1
    assert codec.decode_body(body, both)["b"] == []


def test_a_rejection_is_bounded_in_every_text() -> None:
    rejected = Rejected(Reason.INVALID, "x" * 5000)
    assert len(rejected.message) == 1000
    assert rejected.message.endswith("…")
    assert len(str(rejected)) < 1020
