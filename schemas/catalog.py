"""The schemas that a process knows, by full name (what it reads into) and by fingerprint (what others may have written with)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from schemas.codec import Schema

AVRO = Path(__file__).parent / "avro"


class Catalog:
    """Raises `ValueError` for two different schemas of the same name."""

    def __init__(self, schemas: Iterable[Schema]) -> None:
        self._by_name: dict[str, Schema] = {}
        self._by_fingerprint: dict[bytes, Schema] = {}
        for schema in schemas:
            known = self._by_name.setdefault(schema.name, schema)
            if known.fingerprint != schema.fingerprint:
                raise ValueError(f"two different schemas are called {schema.name}: rename one")
            self._by_fingerprint[schema.fingerprint] = schema

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
    """Raises `OSError`, and `ValueError` that names the file."""
    try:
        return Schema(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


@cache
def shipped() -> tuple[Schema, ...]:
    """Every schema that ships with Headrace."""
    return tuple(read_schema(path) for path in sorted(AVRO.rglob("*.avsc")))
