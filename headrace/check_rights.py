"""`headrace doctor`'s questions about rights, clocks, queues and schedules. Each answers with a sentence, or raises one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from datetime import timedelta
from typing import TypeVar

from aiokafka.errors import TopicAuthorizationFailedError
from botocore.exceptions import ClientError
from temporalio.api.workflowservice.v1 import StartWorkflowExecutionRequest
from temporalio.service import RPCError, RPCStatusCode

from headrace import queues, rights, s3_refusals, subjects, temporal, temporal_refusals
from headrace.registry import NotPermitted, Registry, SchemaRefusedError
from headrace.settings import Settings
from headrace.store import migrate
from headrace.store.engine import engine_of
from schemas.codec import Schema
from schemas.routes import load_routes
from schemas.topics import Topics

_MOST_SKEW = 5.0
"""Seconds; a clock that is off by more misplaces times in completions and in what maintenance and the reconciler compare."""


T = TypeVar("T")


class Wrong(Exception):  # noqa: N818 - an answer, not an accident
    """The part answers, but is not as it must be."""


class Doubtful(Exception):  # noqa: N818 - as above
    """It may be meant so."""


async def kafka_rights(settings: Settings) -> str:
    topics, domains = Topics(settings.topic_prefix), load_routes(settings.routes_file).domains()
    requests = [*(topics.requests(domain) for domain in domains), topics.commands]
    dead = [topics.dead_letters(topic) for topic in requests]
    told = [*(topics.completions(domain) for domain in domains), topics.history]
    try:
        unwritten = await rights.may_not_write(settings, [*requests, *dead, *told])
        unread = await rights.may_not_read(settings, [*requests, *dead, *told])
        grouped = await rights.may_use_group(settings, requests[0])
    except TopicAuthorizationFailedError as error:
        raise Wrong(f"not permitted to describe {error}: give this user DESCRIBE, READ and WRITE on Headrace's topics") from error
    refused = [
        *([f"WRITE on {', '.join(unwritten)}"] if unwritten else []),
        *([f"READ on {', '.join(unread)}"] if unread else []),
        *([] if grouped else [f"READ on the group {settings.ingress_group}"]),
    ]
    if refused:
        raise Wrong(f"this user lacks {'; '.join(refused)}: give it these with kafka-acls")
    return f"produce to and consume from {len({*requests, *dead, *told})} topics, group {settings.ingress_group}"


async def schema_registry(settings: Settings) -> str:
    """Asks for the right to register by registering what is there, which changes nothing."""
    registry = Registry.of(settings)
    if registry is None:
        return "none is set: records are Avro single-object encoded"
    try:
        wanted = subjects.subjects(load_routes(settings.routes_file), Topics(settings.topic_prefix))
        ids = await _all(registry.find(name, schema.versions[-1]) for name, schema in wanted.items())
        lacking = [name for name, schema_id in zip(wanted, ids, strict=True) if schema_id is None]
        if lacking:
            raise Wrong(f"not registered: {', '.join(lacking)}; run `headrace setup`")
        levels = await _all(map(registry.level, wanted))
        may = await _may_register(registry, *next(iter(wanted.items())))
    except NotPermitted as error:
        raise Wrong(str(error)) from error
    finally:
        await registry.close()
    lax = [f"{name} has {subjects.laxer(level)}" for name, level in zip(wanted, levels, strict=True) if level != subjects.LEVEL]
    if lax:
        raise Doubtful("; ".join(lax))
    rights_of_it = "may read and register" if may else "may read alone, which is enough for all but `headrace setup`"
    return f"{len(wanted)} subjects at {registry.address}; this key {rights_of_it}"


async def _all(asked: Iterable[Awaitable[T]]) -> list[T]:
    """The answers, side by side. Raises the first error once nothing is under way any more."""
    answers = await asyncio.gather(*asked, return_exceptions=True)
    found: list[T] = []
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
        found.append(answer)
    return found


async def _may_register(registry: Registry, name: str, schema: Schema) -> bool:
    try:
        await registry.add(name, schema.versions[-1])
    except (NotPermitted, SchemaRefusedError):
        return False
    return True


async def s3_rights(settings: Settings) -> str:
    try:
        ahead = await rights.s3_round_trip(settings)
    except ClientError as error:
        needed = "; below tmp/doctor/ its policy must permit s3:GetObject, s3:PutObject and s3:DeleteObject"
        hint = needed if s3_refusals.code_of(error) == "AccessDenied" else ""
        raise Wrong(f"bucket {settings.s3_bucket}: {s3_refusals.why(error)}{hint}") from error
    _check_clock("S3", ahead)
    return f"put, get and delete in {settings.s3_bucket}; clocks agree"


async def database_rights(settings: Settings) -> str:
    database = engine_of(settings)
    try:
        if await migrate.current(database) is None:
            raise Wrong("no tables; run `headrace setup`")
        refused = await rights.database_refuses(database)
        ahead = await rights.database_ahead(database)
    finally:
        await database.dispose()
    if refused:
        raise Wrong(f"its user lacks {'; '.join(refused)}: GRANT them, or use the owner of the tables (HEADRACE_DATABASE_URL)")
    _check_clock("the database", ahead)
    return "tables may be made and written; clocks agree"


async def temporal_rights(settings: Settings) -> str:
    """Asks for a start that no server carries out, since it has no workflow ID: rights are looked at before that."""
    client = await temporal.connect(settings)
    try:
        await client.workflow_service.start_workflow_execution(StartWorkflowExecutionRequest(namespace=client.namespace))
    except RPCError as error:
        if error.status in temporal_refusals.NOT_PERMITTED:
            raise Wrong(f"starts in namespace {client.namespace}: {temporal_refusals.why(error)}") from error
        if error.status == RPCStatusCode.NOT_FOUND:
            raise Wrong(f"there is no namespace {client.namespace} (TEMPORAL_NAMESPACE)") from error
        if error.status != RPCStatusCode.INVALID_ARGUMENT:
            raise
    return f"workflows may be started in namespace {client.namespace}"


async def schedules(settings: Settings) -> str:
    found = await queues.schedules(settings)
    missing = [state.schedule for state in found if not state.there]
    if missing:
        raise Wrong(f"missing: {', '.join(missing)}; run `headrace setup`")
    paused = [state for state in found if state.paused]
    if paused:
        told = "; ".join(queues.describe_schedule(state) for state in paused)
        raise Doubtful(f"{told}. It goes on with `temporal schedule toggle --unpause --schedule-id {paused[0].schedule}`")
    return f"{', '.join(state.schedule for state in found)} there, not paused"


async def workers_poll(settings: Settings) -> str:
    found = await queues.queues(settings)
    left = [queue for queue in found if not queue.workers]
    if left:
        waits = sum(queue.backlog for queue in left)
        raise Doubtful(
            f"no worker asks {', '.join(queue.queue for queue in left)} for tasks ({waits} wait there): are `headrace workers` and"
            " `headrace notifier` running, with this namespace?"
        )
    told: dict[str, list[str]] = {}
    for queue in found:
        for sentence in queue.in_vain:
            told.setdefault(sentence, []).append(queue.queue)
    if told:
        raise Doubtful("; ".join(f"{', '.join(of)}: {sentence}" for sentence, of in told.items()))
    return f"{len(found)} task queues, each with a worker"


def _check_clock(whose: str, ahead: float) -> None:
    if abs(ahead) > _MOST_SKEW:
        way = "ahead of" if ahead > 0 else "behind"
        raise Doubtful(f"the clock of {whose} is {timedelta(seconds=round(abs(ahead)))} {way} this machine's: set both by NTP")
