"""The search attributes of a namespace: what is missing, and made where the server lets us."""

from __future__ import annotations

import asyncio
import time

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from headrace.temporal_refusals import NOT_PERMITTED
from schemas import names

SEARCH_ATTRIBUTES = (
    names.SEARCH_ATTRIBUTE_EVENT_ID,
    names.SEARCH_ATTRIBUTE_USER_ID,
    names.SEARCH_ATTRIBUTE_EVENT_TYPE,
    names.SEARCH_ATTRIBUTE_COMPENSATION,
)

_KEYWORD = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
_VISIBLE_SECONDS = 30.0
_NOT_FOR_US = (*NOT_PERMITTED, RPCStatusCode.UNIMPLEMENTED)
"""The operator service of Temporal Cloud, and of a server whose authorizer keeps it for administrators."""


class CannotBeMade(Exception):  # noqa: N818 - named for what is to be done about it
    """Somebody else has to make them; the text has the commands."""


async def missing(client: Client) -> list[str]:
    """Those that the namespace lacks. Raises `CannotBeMade` for one of another type, and `RPCError`."""
    request = ListSearchAttributesRequest(namespace=client.namespace)
    try:
        there = (await client.operator_service.list_search_attributes(request)).custom_attributes
    except RPCError as error:
        if error.status not in _NOT_FOR_US:
            raise
        return [name for name in SEARCH_ATTRIBUTES if not await _is_known(client, name)]
    for name in SEARCH_ATTRIBUTES:
        if name in there and there[name] != _KEYWORD:
            raise CannotBeMade(
                f"namespace {client.namespace} has a search attribute {name} that is no Keyword: remove it with `temporal operator"
                f" search-attribute remove --name {name}`, or use another namespace (TEMPORAL_NAMESPACE)"
            )
    return [name for name in SEARCH_ATTRIBUTES if name not in there]


async def add(client: Client) -> set[str]:
    """Makes what is missing, and says what that was. Raises as `missing`, and `CannotBeMade` where the server keeps it for others."""
    new = await missing(client)
    if not new:
        return set()
    request = AddSearchAttributesRequest(namespace=client.namespace, search_attributes=dict.fromkeys(new, _KEYWORD))
    try:
        await client.operator_service.add_search_attributes(request)
    except RPCError as error:
        if error.status not in _NOT_FOR_US:
            raise
        raise CannotBeMade(_by_hand(client.namespace, new, error)) from error
    return set(new)


async def until_visible(client: Client) -> None:
    """Until the server takes the attributes: before that it refuses every start that carries one. Raises `RPCError`."""
    query = " AND ".join(f"{name} = 'x'" for name in SEARCH_ATTRIBUTES)
    deadline = time.monotonic() + _VISIBLE_SECONDS
    while True:
        try:
            await client.count_workflows(query)
        except RPCError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.2)
        else:
            return


async def _is_known(client: Client, name: str) -> bool:
    """By a query: whoever may start workflows may ask this."""
    try:
        await client.count_workflows(f"{name} = 'x'")
    except RPCError as error:
        if error.status == RPCStatusCode.INVALID_ARGUMENT:
            return False
        raise
    return True


def _by_hand(namespace: str, new: list[str], error: RPCError) -> str:
    own = " ".join(f"--name {name}" for name in new)
    cloud = " ".join(f"--search-attribute {name}=Keyword" for name in new)
    return (
        f"Temporal does not let these credentials make the search attributes {', '.join(new)} ({error.status.name}). An administrator makes"
        f" them, then run `headrace setup` again: `temporal operator search-attribute create -n {namespace} --type Keyword {own}`; on"
        f" Temporal Cloud in its UI, or `tcld namespace search-attributes add --namespace {namespace} {cloud}`"
    )
