"""The schemas that a process knows, by full name (what it reads into) and by fingerprint (what others may have written with)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from schemas.codec import Schema

AVRO = Path(__file__).parent / "avro"


class Catalog:
    """Reads into the schemas given, and knows their past versions too: a sender that was never updated stays understood.

    Raises `ValueError` for two different schemas of the same name.
    """

    def __init__(self, schemas: Iterable[Schema]) -> None:
        self._by_name: dict[str, Schema] = {}
        self._by_fingerprint: dict[bytes, Schema] = {}
        for schema in schemas:
            known = self._by_name.setdefault(schema.name, schema)
            if known.fingerprint != schema.fingerprint:
                raise ValueError(f"two different schemas are called {schema.name}: rename one")
            self._by_fingerprint[schema.fingerprint] = known
        for schema in self._by_name.values():
            for past in schema.past:
                self._by_fingerprint.setdefault(past.fingerprint, past)

    def by_name(self, name: str) -> Schema | None:
        return self._by_name.get(name)

    def by_fingerprint(self, fingerprint: bytes) -> Schema | None:
        return self._by_fingerprint.get(fingerprint)

    def named(self, name: str) -> Schema:
        """Raises `KeyError` for a record that this process does not know."""
        return self._by_name[name]

    def names(self) -> list[str]:
        return sorted(self._by_name)


def read_schema(path: Path) -> Schema:
    """The schema in `X.avsc` with its published versions, which lie beside it in the folder `X`: `1.avsc`, `2.avsc`, ...

    Raises `OSError`, and `ValueError` that names the file.
    """
    past = tuple(_read(version) for version in versions(path))
    schema = _read(path, past)
    for version in past:
        if version.name != schema.name:
            raise ValueError(f"{path.with_suffix('')}: a version of {schema.name} is called {version.name}")
    return schema


def versions(path: Path) -> list[Path]:
    """The published versions of the schema in `path`, oldest first. Raises `ValueError` for a file that is not a number's."""
    found = list(path.with_suffix("").glob("*.avsc"))
    for version in found:
        if not re.fullmatch(r"[1-9][0-9]*", version.stem, re.ASCII):
            raise ValueError(f"{version}: a published version is called by its number, for example 1.avsc")
    return sorted(found, key=lambda version: int(version.stem))


def _read(path: Path, past: tuple[Schema, ...] = ()) -> Schema:
    try:
        return Schema(path.read_text(encoding="utf-8"), past)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


@cache
def shipped() -> tuple[Schema, ...]:
    """Every schema that ships with Headrace: `avro/<domain>/<record>.avsc`."""
    return tuple(read_schema(path) for path in sorted(AVRO.glob("*/*.avsc")))
