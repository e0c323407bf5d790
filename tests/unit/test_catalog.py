from __future__ import annotations

import json
from pathlib import Path

import pytest

from schemas.catalog import Catalog, read_schema, shipped, versions
from schemas.codec import Schema


def text(*fields: str, name: str = "acme.R", doc: str = "") -> str:
    return json.dumps({"type": "record", "name": name, "doc": doc, "fields": [{"name": f, "type": "int", "default": 0} for f in fields]})


def test_a_schema_is_found_by_name_and_by_fingerprint() -> None:
    schema = Schema(text("a"))
    catalog = Catalog([schema])
    assert catalog.by_name("acme.R") is schema
    assert catalog.named("acme.R") is schema
    assert catalog.by_fingerprint(schema.fingerprint) is schema
    assert catalog.names() == ["acme.R"]


def test_what_is_unknown_is_not_found() -> None:
    catalog = Catalog([])
    assert catalog.by_name("acme.R") is None
    assert catalog.by_fingerprint(bytes(8)) is None
    with pytest.raises(KeyError):
        catalog.named("acme.R")


def test_the_same_schema_may_come_twice_as_with_a_route_for_a_shipped_record() -> None:
    assert Catalog([Schema(text("a")), Schema(text("a", doc="in other words"))]).names() == ["acme.R"]


def test_two_different_schemas_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match=r"two different schemas are called acme\.R: rename one"):
        Catalog([Schema(text("a")), Schema(text("b"))])


def test_a_sender_that_was_never_updated_is_understood(tmp_path: Path) -> None:
    (tmp_path / "R").mkdir()
    for number in (1, 2, 10):
        (tmp_path / "R" / f"{number}.avsc").write_text(text(*"abcdefghij"[:number]))
    current = tmp_path / "R.avsc"
    current.write_text(text(*"abcdefghij"))
    schema = read_schema(current)
    assert [path.stem for path in versions(current)] == ["1", "2", "10"]
    catalog = Catalog([schema])
    assert catalog.by_name("acme.R") is schema
    assert catalog.by_fingerprint(Schema(text("a")).fingerprint) is schema.past[0]
    assert catalog.by_fingerprint(schema.fingerprint) is schema, "not the published copy of the current one"


def test_a_past_version_of_another_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "R").mkdir()
    (tmp_path / "R" / "1.avsc").write_text(text("a", name="acme.Other"))
    (tmp_path / "R.avsc").write_text(text("a"))
    with pytest.raises(ValueError, match=r"R: a version of acme\.R is called acme\.Other"):
        read_schema(tmp_path / "R.avsc")


def test_a_past_version_without_a_number_is_refused(tmp_path: Path) -> None:
    (tmp_path / "R").mkdir()
    (tmp_path / "R" / "old.avsc").write_text(text("a"))
    (tmp_path / "R.avsc").write_text(text("a"))
    with pytest.raises(ValueError, match=r"old\.avsc: a published version is called by its number"):
        read_schema(tmp_path / "R.avsc")


def test_a_file_that_is_no_schema_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.avsc"
    path.write_bytes(b"\xff")
    with pytest.raises(ValueError, match=r"broken\.avsc: "):
        read_schema(path)
    with pytest.raises(FileNotFoundError):
        read_schema(tmp_path / "missing.avsc")


def test_what_ships_makes_one_catalog() -> None:
    catalog = Catalog(shipped())
    assert "headrace.image.ImageGenerationRequested" in catalog.names()
    assert len(catalog.names()) == len(shipped())
