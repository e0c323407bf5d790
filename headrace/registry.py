"""A Confluent-compatible schema registry: schema by ID, ID of a schema under a subject, and what `headrace setup` asks of a subject."""

from __future__ import annotations

from typing import Any, Self
from urllib.parse import quote, unquote, urlsplit

import httpx

from headrace.answers import Answers
from headrace.settings import Settings
from schemas.codec import Schema
from schemas.errors import Reason, Rejected, Transient, bounded

_UNKNOWN_SCHEMA_ID = 40403
"""`error_code` of the answer that tells of an ID that is none. Any other 404 comes from a wrong URL, or from a proxy in between."""
_NOT_THERE = (40401, 40402, _UNKNOWN_SCHEMA_ID)
"""The same of a subject, a version, and a schema under a subject."""
_MAX_SCHEMA_ID = 2**31 - 1
_SCHEMA_REFUSED = (409, 422)
"""Not compatible with the versions before it; not a schema at all."""


class NotPermitted(Transient):
    """The registry answers 401 or 403: an operator sets it right, and until then records wait."""


class SchemaRefusedError(ValueError):
    """The registry does not take a schema: it is not compatible with those before it, or the subject is closed."""


class Registry:
    """A client with a cache that never forgets: a schema ID names one schema for ever.

    The URL may have a path (`http://host:8081/apis/ccompat/v7`) and a key and secret (`https://key:secret@host`), which are sent as basic
    authentication and appear in no text. Raises `ValueError` for a URL that is none.
    """

    def __init__(self, url: str, *, timeout: float = 5.0) -> None:
        self._url, auth = _parse(url)
        self._http = httpx.AsyncClient(base_url=self._url + "/", auth=auth, timeout=timeout)
        self._schemas: Answers[int, Schema] = Answers()
        self._ids: Answers[tuple[str, bytes], int] = Answers()

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """None where none is configured."""
        url = settings.schema_registry_url
        return None if url is None else cls(url.get_secret_value())

    @property
    def address(self) -> str:
        """Without key and secret."""
        return self._url

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
        """The ID of a schema under a subject, registered when it is new: what is there needs no right to write.

        Raises `Transient`, as `NotPermitted` when this key may not; `SchemaRefusedError`.
        """
        return await self._ids.get((subject, schema.fingerprint), lambda: self._ask_id(subject, schema))

    async def find(self, subject: str, schema: Schema) -> int | None:
        """The ID of a schema under a subject; None when it is not there. Raises as `register` does."""
        response = await self._call("POST", _subject(subject), {"schema": schema.text})
        return None if _not_there(response) else self._id_in(response, subject, schema)

    async def add(self, subject: str, schema: Schema) -> int:
        """The ID of a schema, which is registered; that changes nothing where it is there. Raises as `register` does."""
        return self._id_in(await self._call("POST", f"{_subject(subject)}/versions", {"schema": schema.text}), subject, schema)

    async def versions(self, subject: str) -> dict[int, str]:
        """The text of each version of a subject by its number, oldest first; empty for a subject that is not there. Raises `Transient`."""
        found: dict[int, str] = {}
        for number in await self._numbers(subject):
            response = await self._call("GET", f"{_subject(subject)}/versions/{number}")
            text = _json(response).get("schema")
            if isinstance(text, str):
                found[number] = text
            elif not _not_there(response):  # it was deleted in between
                raise self._unusable(response)
        return found

    async def level(self, subject: str) -> str:
        """The compatibility level that holds for a subject, which is there: its own, or the registry's. Raises `Transient`."""
        response = await self._call("GET", f"config/{quote(subject, safe='')}?defaultToGlobal=true")
        level = _json(response).get("compatibilityLevel")
        if not response.is_success or not isinstance(level, str):
            raise self._unusable(response)
        return level

    async def set_level(self, subject: str, level: str) -> None:
        """Of a subject, which needs no version yet. Raises `Transient`."""
        response = await self._call("PUT", f"config/{quote(subject, safe='')}", {"compatibility": level})
        # Of two that set it at the same moment Apicurio answers one that the other was first.
        if not response.is_success and response.status_code != httpx.codes.CONFLICT:
            raise self._unusable(response)

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
        schema_id = await self.find(subject, schema)
        return await self.add(subject, schema) if schema_id is None else schema_id

    def _id_in(self, response: httpx.Response, subject: str, schema: Schema) -> int:
        answer = _json(response)
        if response.status_code in _SCHEMA_REFUSED:
            words = bounded(str(answer.get("message", response.text)), 400)
            raise SchemaRefusedError(f"the schema registry at {self._url} refuses {schema.name} under the subject {subject}: {words}")
        schema_id = answer.get("id")
        if not response.is_success or not isinstance(schema_id, int):
            raise self._unusable(response)
        self._schemas.put(schema_id, schema)
        return schema_id

    async def _numbers(self, subject: str) -> list[int]:
        response = await self._call("GET", f"{_subject(subject)}/versions")
        if _not_there(response):
            return []
        try:
            numbers = response.raise_for_status().json()
        except (httpx.HTTPStatusError, ValueError):
            numbers = None
        if not isinstance(numbers, list) or not all(isinstance(number, int) for number in numbers):
            raise self._unusable(response)
        return sorted(numbers)

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        try:
            return await self._http.request(method, path, json=body)
        except httpx.RequestError as error:
            raise Transient(f"the schema registry at {self._url} does not answer: {error!r}") from error

    def _unusable(self, response: httpx.Response) -> Transient:
        """An answer that says nothing about the schema: nothing is wrong with the record, so it waits."""
        status = response.status_code
        if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            asked = f"{response.request.method} {response.request.url.path}"
            todo = f"check the key and secret in HEADRACE_SCHEMA_REGISTRY_URL, and what this key may do ({asked})"
            return NotPermitted(f"the schema registry at {self._url} answers {status} {bounded(response.text, 100)!r}; {todo}")
        if status >= httpx.codes.INTERNAL_SERVER_ERROR or status == httpx.codes.TOO_MANY_REQUESTS:
            todo = "it is asked again"
        else:
            todo = "this is no answer of a Confluent-compatible registry: check the path in HEADRACE_SCHEMA_REGISTRY_URL"
        return Transient(f"the schema registry at {self._url} answers {status} {bounded(response.text, 100)!r}; {todo}")


def _subject(name: str) -> str:
    return f"subjects/{quote(name, safe='')}"


def _not_there(response: httpx.Response) -> bool:
    return response.status_code == httpx.codes.NOT_FOUND and _json(response).get("error_code") in _NOT_THERE


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
