"""Every published version of every record stays readable, in both directions, by everybody. `tests.contract.publish` writes the files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from headrace.wire import Wire
from schemas import codec
from schemas.catalog import AVRO, Catalog, read_schema, shipped, versions
from schemas.codec import Schema
from schemas.compatibility import obstacles
from tests.contract import publish
from tests.support.records import MODELS

CURRENT = publish.current()
PUBLISHED = [version for path in CURRENT for version in versions(path)]


def called(path: Path) -> str:
    return str(path.relative_to(AVRO))


def golden(version: Path, record: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((publish.GOLDEN / record / f"{version.stem}.json").read_text("utf-8"))
    return found


@pytest.mark.parametrize("path", CURRENT, ids=called)
def test_a_changed_schema_is_published(path: Path) -> None:
    assert publish.is_published(path), (
        f"{called(path)} differs from its newest published version. Not meant for others yet? Then take the change back. Otherwise:"
        " `python -m tests.contract.publish`, and commit the files that it writes (never change those that are there)."
    )


@pytest.mark.parametrize("version", PUBLISHED, ids=called)
async def test_the_bytes_of_every_version_are_read_for_ever(version: Path) -> None:
    writer = read_schema(version)
    expected = golden(version, writer.name)
    assert writer.fingerprint.hex() == expected["fingerprint"], f"{called(version)} is published: take the change back"
    catalog = Catalog(shipped())
    model = MODELS[writer.name]
    for case in expected["cases"]:
        decoded = await Wire(catalog).decode(bytes.fromhex(case["single_object"]))
        assert decoded.record == writer.name
        frame = codec.unframe(bytes.fromhex(case["confluent"]))
        assert isinstance(frame, codec.Confluent)
        assert frame.schema_id == publish.SCHEMA_ID
        assert codec.decode_body(frame.body, writer, catalog.named(writer.name)) == decoded.value
        # Into the current model: what was written is there, what came later has its default.
        now = model.model_validate(decoded.value).model_dump(mode="json")
        assert now == model.model_validate(case["value"]).model_dump(mode="json")


@pytest.mark.parametrize("version", PUBLISHED, ids=called)
def test_the_bytes_of_every_version_are_written_as_ever(version: Path) -> None:
    writer = read_schema(version)
    for case in golden(version, writer.name)["cases"]:
        frame = codec.unframe(bytes.fromhex(case["single_object"]))
        value = codec.decode_body(frame.body, writer)
        assert codec.frame_single_object(writer, codec.encode_body(writer, value)).hex() == case["single_object"]


@pytest.mark.parametrize("path", CURRENT, ids=called)
def test_all_versions_are_compatible_with_each_other_in_both_directions(path: Path) -> None:
    every = [*versions(path), path]
    for writer in every:
        for reader in every:
            found = obstacles(read_schema(writer).parsed, read_schema(reader).parsed)
            assert not found, f"what {called(writer)} writes cannot be read with {called(reader)}: {'; '.join(found)}"


def test_no_golden_file_and_no_version_is_without_the_other() -> None:
    versions_of = {read_schema(path).name: {version.stem for version in versions(path)} for path in CURRENT}
    goldens_of = {folder.name: {file.stem for file in folder.glob("*.json")} for folder in publish.GOLDEN.iterdir()}
    assert goldens_of == versions_of


def changed(path: Path, tmp_path: Path, **change: Any) -> Path:
    schema = json.loads(path.read_text("utf-8"))
    field = next(field for field in schema["fields"] if field["name"] == "style")
    field.update(change)
    copy = tmp_path / path.name
    copy.write_text(json.dumps(schema))
    for version in versions(path):
        copy.with_suffix("").mkdir(exist_ok=True)
        (copy.with_suffix("") / version.name).write_bytes(version.read_bytes())
    return copy


def test_the_check_sees_a_change_and_overlooks_a_doc(tmp_path: Path) -> None:
    path = AVRO / "image" / "ImageGenerationRequested.avsc"
    assert publish.is_published(changed(path, tmp_path, doc="In better words."))
    assert not publish.is_published(changed(path, tmp_path, default="anime"))


BREAKING: list[tuple[str, Any, Any, str]] = [
    ("another type", "int", "string", ".f: int cannot be read as string"),
    ("a narrower type", "long", "int", ".f: long cannot be read as int"),
    ("null no longer allowed", ["null", "string"], "string", ".f: null cannot be read as string"),
    ("a branch less", ["null", "int", "string"], ["null", "int"], ".f: no branch of the reader's union takes string"),
    ("items", {"type": "array", "items": "long"}, {"type": "array", "items": "int"}, ".f[]: long cannot be read as int"),
    ("values", {"type": "map", "values": "long"}, {"type": "map", "values": "int"}, ".f{}: long cannot be read as int"),
    (
        "a symbol less",
        {"type": "enum", "name": "E", "symbols": ["A", "B"]},
        {"type": "enum", "name": "E", "symbols": ["A"]},
        ".f: the reader does not know the symbols B",
    ),
    (
        "a new field without a default",
        {"type": "record", "name": "X", "fields": []},
        {"type": "record", "name": "X", "fields": [{"name": "g", "type": "int"}]},
        ".f.g: the writer lacks it, and it has no default",
    ),
    ("another record", {"type": "record", "name": "X", "fields": []}, {"type": "record", "name": "Y", "fields": []}, ".f: X is not Y"),
    ("a size", {"type": "fixed", "name": "F", "size": 4}, {"type": "fixed", "name": "F", "size": 8}, ".f: fixed of 4 bytes, not 8"),
]


def record(kind: Any) -> Any:
    # Beside one that takes a byte: a record that takes none is refused for itself.
    fields = [{"name": "f", "type": kind}, {"name": "n", "type": "int"}]
    return Schema(json.dumps({"type": "record", "name": "R", "fields": fields})).parsed


@pytest.mark.parametrize(("writer", "reader", "sentence"), [case[1:] for case in BREAKING], ids=[case[0] for case in BREAKING])
def test_the_check_finds_every_breaking_change(writer: Any, reader: Any, sentence: str) -> None:
    assert obstacles(record(writer), record(reader)) == [sentence]


@pytest.mark.parametrize(
    ("writer", "reader"),
    [
        ("int", "long"),
        ("string", ["null", "string"]),
        ({"type": "long", "logicalType": "timestamp-millis"}, "long"),
        (
            {"type": "enum", "name": "E", "symbols": ["A", "B"]},
            {"type": "enum", "name": "E", "symbols": ["A"], "default": "A"},
        ),
        (
            {"type": "record", "name": "X", "fields": [{"name": "old", "type": "int"}]},
            {"type": "record", "name": "X", "fields": [{"name": "new", "type": "int", "aliases": ["old"]}]},
        ),
    ],
)
def test_the_check_lets_compatible_changes_pass(writer: Any, reader: Any) -> None:
    assert obstacles(record(writer), record(reader)) == []
