"""JSON as the values that an Avro schema takes: a time, a date, bytes or a decimal is a string there."""

import base64
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any

from pydantic import AwareDatetime, NaiveDatetime, TypeAdapter

from schemas.codec import Schema

_AWARE: TypeAdapter[datetime] = TypeAdapter(AwareDatetime)
_NAIVE: TypeAdapter[datetime] = TypeAdapter(NaiveDatetime)

_READERS: dict[str, tuple[Callable[[str], Any], str]] = {
    "timestamp-millis": (_AWARE.validate_python, "a time with its offset, 2026-11-25T12:00:00Z"),
    "timestamp-micros": (_AWARE.validate_python, "a time with its offset, 2026-11-25T12:00:00Z"),
    "local-timestamp-millis": (_NAIVE.validate_python, "a time without an offset, 2026-11-25T12:00:00"),
    "local-timestamp-micros": (_NAIVE.validate_python, "a time without an offset, 2026-11-25T12:00:00"),
    "date": (date.fromisoformat, "a date, 2026-11-25"),
    "time-millis": (time.fromisoformat, "a time of day, 12:00:00"),
    "time-micros": (time.fromisoformat, "a time of day, 12:00:00"),
    "decimal": (Decimal, "a decimal number"),
    "bytes": (base64.urlsafe_b64decode, "base64, in the alphabet for URLs"),
    "fixed": (base64.urlsafe_b64decode, "base64, in the alphabet for URLs"),
}


def from_json(schema: Schema, value: dict[str, Any]) -> dict[str, Any]:
    """`value` with every string read that the schema wants as something else; what else does not fit is left for the encoder to refuse.

    Raises `ValueError` that names the field and does not repeat what is in it.
    """
    named: dict[str, Any] = {}
    _collect(schema.parsed, named)
    read: dict[str, Any] = _read(schema.parsed, value, named, "")
    return read


def _collect(schema: Any, named: dict[str, Any]) -> None:
    if isinstance(schema, list):
        for branch in schema:
            _collect(branch, named)
    elif isinstance(schema, dict):
        if "name" in schema:
            named[schema["name"]] = schema
        for field in schema.get("fields", []):
            _collect(field["type"], named)
        for inner in ("items", "values", "type"):
            if not isinstance(schema.get(inner, ""), str):
                _collect(schema[inner], named)


def _read(schema: Any, value: Any, named: dict[str, Any], path: str) -> Any:
    if isinstance(schema, list):
        branches = [branch for branch in schema if branch != "null"]
        return value if value is None or len(branches) != 1 else _read(branches[0], value, named, path)
    if isinstance(schema, str):
        schema = named.get(schema, {"type": schema})
    if not isinstance(schema["type"], str):
        return _read(schema["type"], value, named, path)
    return _plain(schema, value, path) if isinstance(value, str) else _nested(schema, value, named, path)


def _nested(schema: dict[str, Any], value: Any, named: dict[str, Any], path: str) -> Any:
    def inner(within: Any, item: Any, name: object) -> Any:
        return _read(within, item, named, f"{path}.{name}".removeprefix("."))

    match schema["type"], value:
        case "record" | "error", dict():
            types = {field["name"]: field["type"] for field in schema["fields"]}
            return {name: inner(types[name], item, name) if name in types else item for name, item in value.items()}
        case "array", list():
            return [inner(schema["items"], item, number) for number, item in enumerate(value)]
        case "map", dict():
            return {key: inner(schema["values"], item, key) for key, item in value.items()}
    return value


def _plain(schema: dict[str, Any], text: str, path: str) -> Any:
    reader, what = _READERS.get(schema.get("logicalType", schema["type"]), (str, "text"))
    try:
        return reader(text)
    except (ValueError, InvalidOperation):
        raise ValueError(f"{path} is not {what}") from None
