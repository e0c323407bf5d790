"""JSON that came through Temporal, or from a shell, becomes what Avro takes: else a time in a result would fail every completion."""

from __future__ import annotations

import base64
import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import codec
from schemas.codec import Schema
from schemas.from_json import from_json
from tests.support.ingress import CATALOG
from tests.support.records import MODELS, values

MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
NOW = datetime(2026, 11, 25, 12, 0, 0, 123000, tzinfo=UTC)


def schema(*fields: tuple[str, Any]) -> Schema:
    return Schema(json.dumps({"type": "record", "name": "a.b.C", "fields": [{"name": name, "type": kind} for name, kind in fields]}))


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (MILLIS, "2026-11-25T13:00:00.123+01:00", NOW),
        ({"type": "long", "logicalType": "timestamp-micros"}, "2026-11-25T12:00:00.123Z", NOW),
        ({"type": "long", "logicalType": "local-timestamp-millis"}, "2026-11-25T12:00:00.123", NOW.replace(tzinfo=None)),
        ({"type": "int", "logicalType": "date"}, "2026-11-25", date(2026, 11, 25)),
        ({"type": "int", "logicalType": "time-millis"}, "12:30:00", time(12, 30)),
        ({"type": "bytes", "logicalType": "decimal", "precision": 8, "scale": 2}, "12.50", Decimal("12.50")),
        ("bytes", base64.urlsafe_b64encode(b"\xff\xfe").decode(), b"\xff\xfe"),
        ({"type": "fixed", "name": "F", "size": 2}, base64.urlsafe_b64encode(b"\xff\xfe").decode(), b"\xff\xfe"),
        ({"type": "string", "logicalType": "uuid"}, str(UUID(int=7)), str(UUID(int=7))),
        ("string", "2026-11-25", "2026-11-25"),
    ],
)
def test_a_string_is_read_as_its_schema_says_wherever_it_is(kind: Any, text: str, value: Any) -> None:
    nested = {"type": "record", "name": "N", "fields": [{"name": "x", "type": ["null", kind]}]}
    wanted = schema(("one", nested), ("many", {"type": "array", "items": "N"}), ("map", {"type": "map", "values": ["null", "N"]}))
    found = from_json(wanted, {"one": {"x": text}, "many": [{"x": text}, {"x": None}], "map": {"a": {"x": text}, "b": None}})
    assert found == {"one": {"x": value}, "many": [{"x": value}, {"x": None}], "map": {"a": {"x": value}, "b": None}}
    codec.encode_body(wanted, found)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (MILLIS, "at.0 is not a time with its offset"),
        ({"type": "int", "logicalType": "date"}, "at.0 is not a date"),
        ({"type": "bytes", "logicalType": "decimal", "precision": 8, "scale": 2}, "at.0 is not a decimal number"),
        ("bytes", "at.0 is not base64"),
    ],
)
def test_a_string_that_is_none_of_its_kind_is_named_and_not_repeated(kind: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        from_json(schema(("at", {"type": "array", "items": kind})), {"at": ["some secret"]})
    assert "secret" not in str(caught.value)


def test_what_fits_nowhere_is_left_for_the_encoder_to_refuse() -> None:
    wanted = schema(("at", MILLIS), ("either", ["int", "string"]), ("list", {"type": "array", "items": "int"}))
    value = {"at": 7, "either": "x", "list": "no list", "unknown": "x"}
    assert from_json(wanted, value) == value


@given(st.sampled_from(sorted(MODELS)).flatmap(lambda name: st.tuples(st.just(name), values(CATALOG.named(name)))))
def test_what_a_model_writes_as_json_is_encoded_as_the_model_itself(drawn: tuple[str, dict[str, Any]]) -> None:
    name, value = drawn
    as_json = MODELS[name].model_validate(value).model_dump(mode="json")
    wanted = CATALOG.named(name)
    assert codec.encode_body(wanted, from_json(wanted, as_json)) == codec.encode_body(wanted, value)
