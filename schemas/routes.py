"""`routes.toml`: which workflow a record starts. A team's own workflow is a route in a file of its own and two `.avsc`, no Python."""

import json
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.catalog import Catalog, read_schema, shipped
from schemas.codec import Schema, encode_body
from schemas.completion import CompletionError, OpenCompletion, Status, completion_record
from schemas.limits import limited
from schemas.models import REQUESTS
from schemas.request import OpenRequest, Request

Order = Literal["key", "partition", "none"]

SHIPPED = Path(__file__).parent / "routes.toml"
_INCLUDE_SHIPPED = "shipped"

_COMMON_FIELDS = {"event_id": ("string", "fixed"), "user_id": ("string",), "requested_at": ("long",)}
"""What every request record has, and the Avro types that each may be."""


class RouteError(Exception):
    """The file of routes cannot be used; the text says which route and what to do."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    record: str = Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")
    schema_: str = Field(alias="schema")
    workflow: str = Field(min_length=1)
    task_queue: str = Field(min_length=1)
    completion: str | None = None
    elsewhere: bool = False
    priority: int = Field(3, ge=1, le=5)
    order: Order = "key"


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    include: list[str] = []
    route: list[_Entry] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Route:
    """One record and the workflow it starts."""

    record: str
    domain: str
    workflow: str
    task_queue: str
    priority: int
    order: Order
    """Which records are started in the order of their offsets: those of a key, those of a partition, or none."""
    schema: Schema
    model: type[Request]
    """What the decoded record is validated with; for a record that does not ship an `OpenRequest` with the limits of its `.avsc`."""
    completion: Schema | None = None
    """Of the completion record, where the route names one: those of the records that ship are known without."""
    elsewhere: bool = False
    """Its worker is not one of those that this registry knows."""


class Routes:
    """The routes by record. Raises `RouteError` for two of the same record."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._by_record: dict[str, Route] = {}
        for route in routes:
            if route.record in self._by_record:
                raise RouteError(f"two routes for {route.record}: keep one")
            self._by_record[route.record] = route

    def find(self, record: str) -> Route | None:
        return self._by_record.get(record)

    def called(self, name: str) -> Route | None:
        """By the record's full name, or by the last part of it."""
        return next((route for route in self.all() if name in (route.record, route.record.rsplit(".", 1)[-1])), None)

    def all(self) -> list[Route]:
        """In the order of the file, behind those that it includes."""
        return list(self._by_record.values())

    def domains(self) -> list[str]:
        return sorted({route.domain for route in self._by_record.values()})

    def schemas(self) -> list[Schema]:
        """Of the requests."""
        return [route.schema for route in self._by_record.values()]

    def catalog(self) -> Catalog:
        """The schemas that ship and those of these routes. Raises `RouteError` for a name that has two."""
        completions = [route.completion for route in self._by_record.values() if route.completion is not None]
        try:
            return Catalog([*shipped(), *self.schemas(), *completions])
        except ValueError as error:
            raise RouteError(str(error)) from error


def load_routes(path: Path | None = None) -> Routes:
    """The routes in `path` and in the files that it includes, or those that ship with Headrace. Raises `RouteError`."""
    path = path or SHIPPED
    routes = _read(path, ())
    try:
        found = Routes(routes)
        found.catalog()
    except RouteError as error:
        raise RouteError(f"{path}: {error}") from error
    return found


def _read(path: Path, including: tuple[Path, ...]) -> list[Route]:
    """Those of the included files first; `including` are the files on the way to this one."""
    if path.resolve() in including:
        raise RouteError(f"{path} includes itself: take it out of an include")
    file = _file(path)
    routes: list[Route] = []
    for name in file.include:
        included = SHIPPED if name == _INCLUDE_SHIPPED else path.parent / name
        routes += _read(included, (*including, path.resolve()))
    try:
        return [*routes, *(_route(path, entry) for entry in file.route)]
    except RouteError as error:
        raise RouteError(f"{path}: {error}") from error


def _file(path: Path) -> _File:
    try:
        return _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise RouteError(f"{path} cannot be read: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise RouteError(f"{path} is not TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise RouteError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except UnicodeDecodeError as error:
        raise RouteError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from error


def _route(path: Path, entry: _Entry) -> Route:
    schema = _schema(path, entry.schema_, entry.record, entry.record)
    types = {field["name"]: field["type"] for field in schema.parsed["fields"]}
    missing = [name for name in _COMMON_FIELDS if name not in types]
    if missing:
        raise RouteError(f"{entry.record} lacks the fields {', '.join(missing)}, which every request has")
    for name, allowed in _COMMON_FIELDS.items():
        found = types[name]["type"] if isinstance(types[name], dict) else types[name]
        if found not in allowed:
            raise RouteError(f"{name} of {entry.record} must be an Avro {' or '.join(allowed)}, not {json.dumps(types[name], default=str)}")
    return Route(
        record=entry.record,
        domain=entry.record.split(".")[-2],
        workflow=entry.workflow,
        task_queue=entry.task_queue,
        priority=entry.priority,
        order=entry.order,
        schema=schema,
        model=REQUESTS.get(entry.record) or _model(schema),
        completion=None if entry.completion is None else _completion(path, entry.completion, entry.record),
        elsewhere=entry.elsewhere,
    )


def _schema(path: Path, file: str, record: str, route: str) -> Schema:
    try:
        schema = read_schema(path.parent / file)
    except (OSError, ValueError) as error:
        raise RouteError(f"the schema of {record} cannot be read: {error}") from error
    if schema.name != record:
        wanted = "" if record == route else f", whose completion is {record}"
        raise RouteError(f"the route is for {route}{wanted}, but {file} defines {schema.name}")
    return schema


def _model(schema: Schema) -> type[Request]:
    try:
        return limited(schema, OpenRequest)
    except ValueError as error:
        raise RouteError(f"{schema.name}: {error}") from error


def _completion(path: Path, file: str, record: str) -> Schema:
    """The schema of the completion, once a completion of each status was written with it."""
    if not record.endswith("Requested"):
        raise RouteError(f"{record} has a completion, so its name must end with Requested: the completion's ends with Completed instead")
    schema = _schema(path, file, completion_record(record), record)
    for status in Status:
        try:
            encode_body(schema, _without_result(status).model_dump())
        except ValueError as error:
            raise RouteError(f"{schema.name} cannot tell of {status}, its fields must be those of every completion: {error}") from error
    return schema


def _without_result(status: Status) -> OpenCompletion:
    """A completion of a request for which no workflow was started: everything that may be null is."""
    now, id_ = datetime.now(UTC), UUID(int=1)
    error = CompletionError(code="code", message="message")
    return OpenCompletion(completion_id=id_, event_id=id_, user_id="user", status=status, error=error, requested_at=now, completed_at=now)
