"""A Confluent-compatible schema registry, of which Headrace needs two calls: schema by ID, and ID of a schema under a subject."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar
from urllib.parse import quote, unquote, urlsplit

import httpx

from schemas.codec import Schema
from schemas.errors import Reason, Rejected, Transient, bounded

_UNKNOWN_SCHEMA_ID = 40403
"""`error_code` of the answer that tells of an ID that is none. Any other 404 comes from a wrong URL, or from a proxy in between."""
_MAX_SCHEMA_ID = 2**31 - 1
_SCHEMA_REFUSED = (409, 422)
"""Not compatible with the versions before it; not a schema at all."""

K = TypeVar("K")
V = TypeVar("V")


class Registry:
    """A client with a cache that never forgets: a schema ID names one schema for ever.

    The URL may have a path (`http://host:8081/apis/ccompat/v7`) and a key and secret (`https://key:secret@host`), which are sent as basic
    authentication and appear in no text. Raises `ValueError` for a URL that is none.
    """

    def __init__(self, url: str, *, timeout: float = 5.0) -> None:
        self._url, auth = _parse(url)
        self._http = httpx.AsyncClient(base_url=self._url + "/", auth=auth, timeout=timeout)
        self._schemas: _Answers[int, Schema] = _Answers()
        self._ids: _Answers[tuple[str, bytes], int] = _Answers()

    async def close(self) -> None:
        await self._schemas.close()
        await self._ids.close()
        await self._http.aclose()

    async def schema(self, schema_id: int) -> Schema:
        """The schema of an ID.

        Raises `Rejected(UNKNOWN_SCHEMA)` once the registry has answered that it has none, or has one that cannot be used; `Transient` while
        it does not answer.
        """
        if schema_id > _MAX_SCHEMA_ID:
            # A registry takes this for a wrong path: asking would never give an answer.
            raise Rejected(Reason.UNKNOWN_SCHEMA, f"{schema_id} is no schema ID: the greatest is {_MAX_SCHEMA_ID}")
        return await self._schemas.get(schema_id, lambda: self._ask_schema(schema_id))

    def known(self, schema_id: int) -> Schema | None:
        """The schema of an ID that was asked for before."""
        return self._schemas.known(schema_id)

    async def register(self, subject: str, schema: Schema) -> int:
        """The ID of a schema under a subject, registered when it is new.

        Raises `Transient`, and `ValueError` when the registry refuses the schema (it is not compatible with those before it).
        """
        return await self._ids.get((subject, schema.fingerprint), lambda: self._ask_id(subject, schema))

    async def _ask_schema(self, schema_id: int) -> Schema:
        response = await self._call("GET", f"schemas/ids/{schema_id}")
        answer = _json(response)
        if response.status_code == httpx.codes.NOT_FOUND and answer.get("error_code") == _UNKNOWN_SCHEMA_ID:
            raise Rejected(Reason.UNKNOWN_SCHEMA, f"the schema registry at {self._url} knows no schema ID {schema_id}")
        text = answer.get("schema")
        if not response.is_success or not isinstance(text, str):
            raise self._unusable(response)
        kind = answer.get("schemaType", "AVRO")
        if kind != "AVRO":
            raise Rejected(Reason.UNKNOWN_SCHEMA, f"schema ID {schema_id} of the registry is of type {bounded(str(kind), 40)}: send Avro")
        if answer.get("references"):
            raise Rejected(Reason.UNKNOWN_SCHEMA, f"schema ID {schema_id} of the registry refers to others: register it in one piece")
        try:
            return Schema(text)
        except ValueError as error:
            raise Rejected(Reason.UNKNOWN_SCHEMA, f"schema ID {schema_id} of the registry cannot be used: {error}") from error

    async def _ask_id(self, subject: str, schema: Schema) -> int:
        response = await self._call("POST", f"subjects/{quote(subject, safe='')}/versions", {"schema": schema.text})
        answer = _json(response)
        if response.status_code in _SCHEMA_REFUSED:
            words = bounded(str(answer.get("message", response.text)), 400)
            raise ValueError(f"the schema registry at {self._url} refuses {schema.name} under the subject {subject}: {words}")
        schema_id = answer.get("id")
        if not response.is_success or not isinstance(schema_id, int):
            raise self._unusable(response)
        self._schemas.put(schema_id, schema)
        return schema_id

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        try:
            return await self._http.request(method, path, json=body)
        except httpx.RequestError as error:
            raise Transient(f"the schema registry at {self._url} does not answer: {error!r}") from error

    def _unusable(self, response: httpx.Response) -> Transient:
        """An answer that says nothing about the schema: nothing is wrong with the record, so it waits."""
        status = response.status_code
        if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            # Without its words, which may repeat what it was sent.
            todo = "check the key and secret in HEADRACE_SCHEMA_REGISTRY_URL"
            return Transient(f"the schema registry at {self._url} answers {status} without a schema; {todo}")
        if status >= httpx.codes.INTERNAL_SERVER_ERROR or status == httpx.codes.TOO_MANY_REQUESTS:
            todo = "it is asked again"
        else:
            todo = "this is no answer of a Confluent-compatible registry: check the path in HEADRACE_SCHEMA_REGISTRY_URL"
        return Transient(f"the schema registry at {self._url} answers {status} {bounded(response.text, 100)!r}; {todo}")


class _Answers(Generic[K, V]):
    """Answers kept for ever. A question that is under way is not asked again: whoever comes meanwhile gets the same answer or error."""

    def __init__(self) -> None:
        self._known: dict[K, V] = {}
        self._asked: dict[K, asyncio.Task[V]] = {}

    def put(self, key: K, value: V) -> None:
        self._known.setdefault(key, value)

    def known(self, key: K) -> V | None:
        return self._known.get(key)

    async def get(self, key: K, ask: Callable[[], Awaitable[V]]) -> V:
        if key in self._known:
            return self._known[key]
        task = self._asked.get(key)
        if task is None:
            task = self._asked[key] = asyncio.create_task(self._keep(key, ask))
            task.add_done_callback(_seen)
        # One who stops waiting does not stop the others.
        return await asyncio.shield(task)

    async def close(self) -> None:
        tasks = list(self._asked.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep(self, key: K, ask: Callable[[], Awaitable[V]]) -> V:
        try:
            value = self._known[key] = await ask()
            return value
        finally:
            del self._asked[key]


def _seen(task: asyncio.Task[Any]) -> None:
    """Marks an error as seen: everybody who waited for it may have been cancelled."""
    if not task.cancelled():
        task.exception()


def _json(response: httpx.Response) -> dict[str, Any]:
    """The object in an answer; empty for anything that is none."""
    try:
        answer = response.json()
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _parse(url: str) -> tuple[str, tuple[str, str] | None]:
    """The URL without its key and secret and without a slash at its end, and the two."""
    wrong = "HEADRACE_SCHEMA_REGISTRY_URL is not a URL such as http://127.0.0.1:8081 or https://key:secret@host/path"
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise ValueError(wrong) from None  # its text would repeat the secret
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(wrong)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    bare = f"{parts.scheme}://{host}{'' if port is None else f':{port}'}{parts.path.rstrip('/')}"
    auth = None if parts.username is None else (unquote(parts.username), unquote(parts.password or ""))
    try:
        httpx.URL(bare)
    except httpx.InvalidURL:
        raise ValueError(wrong) from None
    return bare, auth
