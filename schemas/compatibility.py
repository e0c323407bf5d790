"""Can a reader's schema read what a writer's schema wrote? After "Schema Resolution" of the Avro 1.12 specification."""

from __future__ import annotations

from typing import Any

_PROMOTIONS = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}


def incompatible(one: Any, other: Any) -> list[str]:
    """Why two versions do not read each other (Confluent calls it FULL), one sentence each; empty when they do. Both are parsed."""
    return [*obstacles(one, other), *obstacles(other, one)]


def obstacles(writer: Any, reader: Any) -> list[str]:
    """Why not, one sentence each; empty when it can. Both are parsed by fastavro."""
    return _resolve(writer, reader, "", _named(writer, {}), _named(reader, {}))


def _named(schema: Any, found: dict[str, Any]) -> dict[str, Any]:
    if isinstance(schema, list):
        for branch in schema:
            _named(branch, found)
    elif isinstance(schema, dict):
        if "name" in schema:
            found[schema["name"]] = schema
        for inner in [*(field["type"] for field in schema.get("fields", [])), schema.get("items"), schema.get("values")]:
            _named(inner, found)
    return found


def _resolve(writer: Any, reader: Any, at: str, writers: dict[str, Any], readers: dict[str, Any]) -> list[str]:  # noqa: PLR0911 - one for each rule
    writer, reader = _plain(writer, writers), _plain(reader, readers)
    if isinstance(writer, list):
        return [found for branch in writer for found in _resolve(branch, reader, at, writers, readers)]
    if isinstance(reader, list):
        if any(not _resolve(writer, branch, at, writers, readers) for branch in reader):
            return []
        return [f"{at}: no branch of the reader's union takes {_kind(writer)}"]
    kinds = _kind(writer), _kind(reader)
    if kinds[0] != kinds[1]:
        return [] if kinds[1] in _PROMOTIONS.get(kinds[0], ()) else [f"{at}: {kinds[0]} cannot be read as {kinds[1]}"]
    match kinds[0]:
        case "record":
            return _records(writer, reader, at, writers, readers)
        case "enum":
            unknown = sorted(set(writer["symbols"]) - set(reader["symbols"]))
            return [f"{at}: the reader does not know the symbols {', '.join(unknown)}"] if unknown and "default" not in reader else []
        case "array":
            return _resolve(writer["items"], reader["items"], f"{at}[]", writers, readers)
        case "map":
            return _resolve(writer["values"], reader["values"], f"{at}{{}}", writers, readers)
        case "fixed":
            return [] if writer["size"] == reader["size"] else [f"{at}: fixed of {writer['size']} bytes, not {reader['size']}"]
    return []


def _records(writer: Any, reader: Any, at: str, writers: dict[str, Any], readers: dict[str, Any]) -> list[str]:
    if writer["name"] != reader["name"]:
        return [f"{at}: {writer['name']} is not {reader['name']}"]
    written = {field["name"]: field["type"] for field in writer["fields"]}
    found = []
    for field in reader["fields"]:
        place = f"{at}.{field['name']}"
        name = next((name for name in (field["name"], *field.get("aliases", ())) if name in written), None)
        if name is not None:
            found += _resolve(written[name], field["type"], place, writers, readers)
        elif "default" not in field:
            found.append(f"{place}: the writer lacks it, and it has no default")
    return found


def _plain(schema: Any, named: dict[str, Any]) -> Any:
    """The type that a name stands for, or that lies in `{"type": ...}` once more."""
    while isinstance(schema, dict) and not isinstance(schema["type"], str):
        schema = schema["type"]
    return named.get(schema, schema) if isinstance(schema, str) else schema


def _kind(schema: Any) -> str:
    return str(schema["type"] if isinstance(schema, dict) else schema)
