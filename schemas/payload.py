"""What makes two records the same event: the values of the decoded request, not their bytes."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

from schemas.codec import Schema
from schemas.request import OpenRequest, Request


def payload_sha256(request: Request, schema: Schema) -> bytes:
    """32 bytes, the same for every encoding and every writer's schema of the same values. The ledger keeps them: never change the form.

    A field with its default counts as absent: an event that is read again after its schema has gained a field is still the same event.
    So does `requested_at`: a sender that asks again with the same event ID, because no answer came, often takes the time anew.
    """
    fields = request.model_dump(mode="json", exclude_defaults=True, exclude={"requested_at"})
    if isinstance(request, OpenRequest):
        fields = {name: value for name, value in fields.items() if value != _default(schema, name)}
    return hashlib.sha256(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)).digest()


_NONE = object()


def _default(schema: Schema, name: str) -> Any:
    """The default of a field of which only the Avro schema tells; something that equals nothing when it has none."""
    for field in schema.parsed["fields"]:
        if field["name"] == name:
            return field.get("default", _NONE)
    return _NONE
