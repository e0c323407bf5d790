"""A Confluent-compatible schema registry, of which Headrace needs two calls: schema by ID, and ID of a schema under a subject."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from schemas.codec import Schema
from schemas.errors import Reason, Rejected, Transient, bounded

_NOT_FOUND = 404
_SERVER_ERROR = 500
_TOO_MANY = 429


class Registry:
    """A client with a cache that never forgets: a schema ID names one schema for ever."""

    def __init__(self, url: str, *, timeout: float = 5.0) -> None:
        self._http = httpx.AsyncClient(base_url=url.rstrip("/") + "/", timeout=timeout)
        self._url = url
        self._schemas: dict[int, Schema] = {}
        self._ids: dict[tuple[str, bytes], int] = {}
        self._lock = asyncio.Lock()

    async def close(self) -> None:
        await self._http.aclose()

    async def schema(self, schema_id: int) -> Schema:
        """The schema of an ID.

        Raises `Rejected(UNKNOWN_SCHEMA)` once the registry has answered that it has none, `Transient` while it does not answer.
        """
        # One question at a time: a thousand records of a new schema ask once.
        async with self._lock:
            if schema_id not in self._schemas:
                answer = await self._call("GET", f"schemas/ids/{schema_id}")
                if answer is None:
                    raise Rejected(Reason.UNKNOWN_SCHEMA, f"the schema registry at {self._url} knows no schema ID {schema_id}")
                try:
                    self._schemas[schema_id] = Schema(answer["schema"])
                except (KeyError, ValueError) as error:
                    raise Rejected(Reason.UNKNOWN_SCHEMA, f"schema ID {schema_id} of the registry is no Avro record: {error}") from error
            return self._schemas[schema_id]

    async def register(self, subject: str, schema: Schema) -> int:
        """The ID of a schema under a subject, registered when it is new.

        Raises `Transient`, and `ValueError` when the registry refuses the schema (it is not compatible with the one before it).
        """
        key = (subject, schema.fingerprint)
        async with self._lock:
            if key not in self._ids:
                answer = await self._call("POST", f"subjects/{subject}/versions", {"schema": schema.text})
                if answer is None:
                    raise ValueError(f"the registry at {self._url} has no subject {subject}")
                self._ids[key] = int(answer["id"])
                self._schemas.setdefault(self._ids[key], schema)
            return self._ids[key]

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any] | None:
        try:
            response = await self._http.request(method, path, json=body)
        except httpx.TransportError as error:
            raise Transient(f"the schema registry at {self._url} does not answer: {error!r}") from error
        if response.status_code == _NOT_FOUND:
            return None
        if response.status_code >= _SERVER_ERROR or response.status_code == _TOO_MANY:
            raise Transient(f"the schema registry at {self._url} answers {response.status_code}")
        if response.is_error:
            raise ValueError(f"the schema registry at {self._url} refuses {path}: {bounded(response.text, 300)}")
        answer: dict[str, Any] = response.json()
        return answer
