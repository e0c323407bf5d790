"""Limits that a team writes into its `.avsc` and the ingress holds requests to: attributes of a field, in JSON Schema's words.

    {"name": "quantity", "type": "int", "minimum": 1, "maximum": 100}

Avro ignores attributes that it does not know, and a schema's fingerprint leaves them out: a limit that changes makes no new version.
"""

import json
from typing import Annotated, Any, TypeVar

from pydantic import Field, create_model
from pydantic_core import SchemaError

from schemas.codec import Schema
from schemas.request import Request

R = TypeVar("R", bound=Request)

_WORDS = {"minimum": "ge", "maximum": "le", "minLength": "min_length", "maxLength": "max_length", "pattern": "pattern"}
_OF_NUMBERS, _OF_STRINGS = {"minimum", "maximum"}, {"minLength", "maxLength", "pattern"}
_TYPES: dict[str, tuple[type, set[str]]] = {
    "int": (int, _OF_NUMBERS),
    "long": (int, _OF_NUMBERS),
    "float": (float, _OF_NUMBERS),
    "double": (float, _OF_NUMBERS),
    "string": (str, _OF_STRINGS),
}


def limited(schema: Schema, base: type[R]) -> type[R]:
    """`base` with the limits that the schema's fields have; `base` itself when none has any.

    Raises `ValueError` for a limit that its field cannot have.
    """
    fields: dict[str, Any] = {}
    for field in json.loads(schema.text)["fields"]:
        words = {word: field[word] for word in _WORDS if word in field}
        if not words:
            continue
        if field["name"] in base.model_fields:
            raise ValueError(f"{field['name']} has limits of its own: take {', '.join(words)} out of it")
        fields[field["name"]] = _annotated(field, words)
    if not fields:
        return base
    try:
        return create_model(schema.name.rsplit(".", 1)[-1], __base__=base, **fields)
    except (SchemaError, TypeError, NameError) as error:
        raise ValueError(f"its limits cannot be used: {' '.join(str(error).split())}") from error


def _annotated(field: dict[str, Any], words: dict[str, Any]) -> tuple[Any, Any]:
    """Pydantic's definition of a field: its type and its default."""
    kind = field["type"]
    nullable = isinstance(kind, list) and len(kind) > 1 and "null" in kind
    plain = next(branch for branch in kind if branch != "null") if nullable else kind
    if not isinstance(plain, str) or plain not in _TYPES or (nullable and len(kind) > 2):  # noqa: PLR2004 - null and one more
        raise ValueError(f"{field['name']} can have no {', '.join(words)}: limits are for strings and numbers")
    type_, allowed = _TYPES[plain]
    if wrong := set(words) - allowed:
        raise ValueError(f"{field['name']} is of type {plain}, which can have no {', '.join(sorted(wrong))}")
    for word, value in words.items():
        if isinstance(value, bool) or not isinstance(value, str if word == "pattern" else int | float):
            raise ValueError(f"{word} of {field['name']} must be a {'text' if word == 'pattern' else 'number'}")  # noqa: TRY004 - of a file
    found: Any = Annotated[type_, Field(**{_WORDS[word]: value for word, value in words.items()})]
    return (found | None if nullable else found), field.get("default", ...)
