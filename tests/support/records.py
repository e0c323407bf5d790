"""Strategies that draw valid values of the pydantic models, field by field from their annotations."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from uuid import UUID

from hypothesis import strategies as st
from pydantic import AwareDatetime, BaseModel

from schemas.codec import Schema
from schemas.models import COMMANDS, COMPLETIONS, EVENTS, REQUESTS
from schemas.request import Model, milliseconds

MODELS: dict[str, type[Model]] = {**REQUESTS, **COMMANDS, **COMPLETIONS, **EVENTS}
"""Every record that Headrace itself writes or reads into a model."""

TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=30).filter(lambda text: bool(text.strip()))
TIMES = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)).map(milliseconds)  # noqa: DTZ001 - by `timezones`

_BY_NAME: dict[str, st.SearchStrategy[Any]] = {
    "size": st.sampled_from(["1024x1024", "1536x1024", "1024x1536"]),
    "category": st.text("abcäß中 -9", min_size=1, max_size=100).map(lambda text: f"x{text}"[:100]),
    "time_commitment_hours": st.integers(1, 80),
    "file_path": st.sampled_from(["s3://headrace/uploads/ada/sales.csv", "s3://other-bucket/räder/2026/mills.parquet"]),
    "amount": st.integers(1, 10**9),
    "days_old": st.integers(1, 36500),
}
"""Fields whose model refuses most values: what is offered, what is in range."""
_BY_TYPE: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXTS,
    bool: st.booleans(),
    int: st.integers(0, 2**31 - 1),
    float: st.floats(allow_nan=False, allow_infinity=False),
    UUID: st.uuids(version=4),
    AwareDatetime: TIMES,
    NoneType: st.none(),
}


@cache
def instances(model: type[BaseModel]) -> st.SearchStrategy[Any]:
    """Valid instances of `model`."""
    fields = {name: _BY_NAME[name] if name in _BY_NAME else _of(field.annotation) for name, field in model.model_fields.items()}
    return st.fixed_dictionaries(fields).map(model.model_validate)


def _of(annotation: Any) -> st.SearchStrategy[Any]:  # noqa: PLR0911 - one for each kind of type
    if annotation in _BY_TYPE:
        return _BY_TYPE[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _of(arguments[0])
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in {Union, UnionType}:
        return st.one_of([_of(argument) for argument in arguments])
    if origin is list:
        return st.lists(_of(arguments[0]), min_size=1, max_size=4)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return st.sampled_from(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return instances(annotation)
    raise TypeError(f"no strategy for {annotation}: add one to tests/support/records.py")


def values(schema: Schema) -> st.SearchStrategy[dict[str, Any]]:
    """What `codec.encode_body` takes for a record that has a model."""
    return instances(MODELS[schema.name]).map(lambda model: model.model_dump())
