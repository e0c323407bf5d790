"""`routes.toml`: which workflow a record starts. A team's own workflow is a route here and an `.avsc`, no Python."""

import json
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.catalog import read_schema
from schemas.codec import Schema
from schemas.completion import completion_record
from schemas.models import REQUESTS
from schemas.request import OpenRequest, Request

Order = Literal["key", "partition", "none"]

SHIPPED = Path(__file__).parent / "routes.toml"

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
    priority: int = Field(3, ge=1, le=5)
    order: Order = "key"


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
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
    """What the decoded record is validated with; `OpenRequest` for a record of which only the common fields are known."""
    completion: Schema | None = None
    """Of the record `<Name>Completed`, when its .avsc lies beside that of `<Name>Requested`: without it nobody can be told."""


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

    def domains(self) -> list[str]:
        return sorted({route.domain for route in self._by_record.values()})

    def schemas(self) -> list[Schema]:
        return [route.schema for route in self._by_record.values()]

    def completions(self) -> list[Schema]:
        """Schemas of the completions; a route may lack its own."""
        return [route.completion for route in self._by_record.values() if route.completion is not None]


def load_routes(path: Path | None = None) -> Routes:
    """The routes in `path`, or those that ship with Headrace. Raises `RouteError`."""
    path = path or SHIPPED
    try:
        entries = _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).route
    except OSError as error:
        raise RouteError(f"{path} cannot be read: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise RouteError(f"{path} is not TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise RouteError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except UnicodeDecodeError as error:
        raise RouteError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from error
    try:
        return Routes([_route(path, entry) for entry in entries])
    except RouteError as error:
        raise RouteError(f"{path}: {error}") from error


def _route(path: Path, entry: _Entry) -> Route:
    try:
        schema = read_schema(path.parent / entry.schema_)
    except (OSError, ValueError) as error:
        raise RouteError(f"the schema of {entry.record} cannot be read: {error}") from error
    if schema.name != entry.record:
        raise RouteError(f"the route is for {entry.record}, but {entry.schema_} defines {schema.name}")
    types = {field["name"]: field["type"] for field in schema.parsed["fields"]}
    missing = [name for name in _COMMON_FIELDS if name not in types]
    if missing:
        raise RouteError(f"{entry.record} lacks the fields {', '.join(missing)}, which every request has")
    for name, allowed in _COMMON_FIELDS.items():
        found = types[name]["type"] if isinstance(types[name], dict) else types[name]
        if found not in allowed:
            raise RouteError(f"{name} of {entry.record} must be an Avro {' or '.join(allowed)}, not {json.dumps(types[name], default=str)}")
    try:
        completion = _completion(path.parent / entry.schema_, entry.record)
    except (OSError, ValueError) as error:
        raise RouteError(f"the schema of the completion of {entry.record} cannot be read: {error}") from error
    return Route(
        record=entry.record,
        domain=entry.record.split(".")[-2],
        workflow=entry.workflow,
        task_queue=entry.task_queue,
        priority=entry.priority,
        order=entry.order,
        schema=schema,
        model=REQUESTS.get(entry.record, OpenRequest),
        completion=completion,
    )


def _completion(request: Path, record: str) -> Schema | None:
    """The schema of a record's completion, which lies beside its own. Raises `OSError` and `ValueError`."""
    name = completion_record(record)
    path = request.with_name(f"{name.rsplit('.', 1)[1]}.avsc")
    if not path.exists():
        return None
    schema = read_schema(path)
    if schema.name != name:
        raise ValueError(f"{path.name} defines {schema.name}, not {name}")
    return schema
