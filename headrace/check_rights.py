"""`headrace doctor`'s questions about rights, clocks, queues and schedules. Each answers with a sentence, or raises one."""

from __future__ import annotations

from datetime import timedelta

from aiokafka.errors import TopicAuthorizationFailedError
from botocore.exceptions import ClientError
from temporalio.api.workflowservice.v1 import StartWorkflowExecutionRequest
from temporalio.service import RPCError, RPCStatusCode

from headrace import queues, rights, temporal
from headrace.settings import Settings
from headrace.store import migrate
from headrace.store.engine import engine_of
from schemas.routes import load_routes
from schemas.topics import Topics

_MOST_SKEW = 5.0
"""Seconds; a clock that is off by more misplaces times in completions and in what maintenance and the reconciler compare."""
_NOT_PERMITTED = (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED)


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


async def s3_rights(settings: Settings) -> str:
    try:
        ahead = await rights.s3_round_trip(settings)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        hint = "run `headrace setup`" if code == "NoSuchBucket" else "its policy must permit s3:GetObject, s3:PutObject and s3:DeleteObject"
        raise Wrong(f"bucket {settings.s3_bucket}: {error.operation_name} is refused ({code}); {hint}") from error
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
        if error.status in _NOT_PERMITTED:
            raise Wrong(
                f"starts are refused in namespace {client.namespace} ({error.status.name}): TEMPORAL_API_KEY, or its role"
            ) from error
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
    return f"{len(found)} task queues, each with a worker"


def _check_clock(whose: str, ahead: float) -> None:
    if abs(ahead) > _MOST_SKEW:
        way = "ahead of" if ahead > 0 else "behind"
        raise Doubtful(f"the clock of {whose} is {timedelta(seconds=round(abs(ahead)))} {way} this machine's: set both by NTP")
