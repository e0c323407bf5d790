"""Questions about an environment, each answered with a sentence: what `headrace doctor` and `headrace status` show."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from aiokafka.errors import KafkaConnectionError
from botocore.exceptions import BotoCoreError, ClientError
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.service import RPCError

from headrace import check_rights, kafka, kafka_security, s3, s3_refusals, search_attributes, temporal, temporal_refusals
from headrace.check_rights import Doubtful, Wrong
from headrace.search_attributes import SEARCH_ATTRIBUTES
from headrace.settings import Settings, SettingsError
from headrace.setup import topic_configs
from headrace.store import away, migrate
from headrace.store.engine import engine_of
from schemas.errors import bounded
from schemas.routes import RouteError, load_routes

Verdict = Literal["ok", "warning", "failed", "unreachable"]

_PATIENCE_SECONDS = 8.0
_WORKERS_SECONDS = 60.0
"""A process that imports every domain's libraries."""
_OF_DATABASE = ("database", "database rights")
_MIN_RETENTION = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    check: str
    verdict: Verdict
    detail: str
    """What is there, or what is wrong and what to do."""


async def all_findings(settings: Settings) -> list[Finding]:
    """Every check, side by side, in a fixed order."""
    checks: list[tuple[str, Callable[[Settings], Awaitable[str]]]] = [
        ("kafka", _kafka),
        ("topics", _topics),
        ("kafka rights", check_rights.kafka_rights),
        ("schema registry", check_rights.schema_registry),
        ("temporal", _temporal),
        ("temporal rights", check_rights.temporal_rights),
        ("search attributes", _search_attributes),
        ("retention", _retention),
        ("schedules", check_rights.schedules),
        ("task queues", check_rights.workers_poll),
        ("s3", _bucket),
        ("s3 rights", check_rights.s3_rights),
        ("database", _database),
        ("database rights", check_rights.database_rights),
    ]
    workers, *found = await asyncio.gather(_workers(), *(_ask(name, check, settings) for name, check in checks))
    return [_routes(settings), workers, *found, *_keys(settings)]


async def _ask(name: str, check: Callable[[Settings], Awaitable[str]], settings: Settings) -> Finding:
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            return Finding(name, "ok", await check(settings))
    except Wrong as wrong:
        return Finding(name, "failed", str(wrong))
    except Doubtful as doubt:
        return Finding(name, "warning", str(doubt))
    except SettingsError as error:
        return Finding(name, "failed", str(error))
    except TimeoutError:
        return Finding(name, "unreachable", f"no answer within {_PATIENCE_SECONDS:g} s: {_address(name, settings)}")
    except Exception as error:  # noqa: BLE001 - whatever a client raises, the part does not answer
        return Finding(name, "unreachable", f"{_address(name, settings)}: {_why(name, error, settings)}")


def _why(name: str, error: Exception, settings: Settings) -> str:
    if name in _OF_DATABASE:
        return away.why(error)
    if isinstance(error, RPCError | temporal_refusals.NotConnected):
        return temporal_refusals.why(error)
    if isinstance(error, BotoCoreError | ClientError):
        return s3_refusals.why(error)
    hint = f"; {kafka_security.hint(settings)}" if isinstance(error, KafkaConnectionError) else ""
    return f"{bounded(str(error) or repr(error), 200)}{hint}"


def _address(name: str, settings: Settings) -> str:
    if name in ("kafka", "topics", "kafka rights"):
        return f"{settings.kafka_bootstrap_servers} (HEADRACE_KAFKA_BOOTSTRAP_SERVERS)"
    if name == "schema registry":
        return "HEADRACE_SCHEMA_REGISTRY_URL"
    if name in ("s3", "s3 rights"):
        return f"{settings.s3_endpoint_url or 'AWS S3'} (HEADRACE_S3_ENDPOINT_URL)"
    if name in _OF_DATABASE:
        return f"{settings.database_url.rsplit('@', 1)[-1]} (HEADRACE_DATABASE_URL)"
    return f"{temporal.address(settings)} (TEMPORAL_ADDRESS)"


def _routes(settings: Settings) -> Finding:
    try:
        routes = load_routes(settings.routes_file)
    except RouteError as error:
        return Finding("routes", "failed", str(error))
    return Finding("routes", "ok", f"{len(routes.schemas())} routes, domains {', '.join(routes.domains())}")


async def _workers() -> Finding:
    """What `headrace route check` says: which workflows there are is known to the workers alone, and they are asked as another process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "workers.check", "--json", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(_WORKERS_SECONDS):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return Finding("workers", "failed", f"`headrace route check` does not end within {_WORKERS_SECONDS:g} s")
    routes = [json.loads(line) for line in out.splitlines()]
    problems = [route["problem"] for route in routes if route["problem"] is not None]
    if process.returncode != 0:
        said = "; ".join(problems) or err.decode(errors="replace").strip().removeprefix("headrace: ") or "`headrace route check` fails"
        return Finding("workers", "failed", bounded(said))
    return Finding("workers", "ok", f"each route's workflow, queue and model are those of its worker; {len(routes)} routes")


async def _kafka(settings: Settings) -> str:
    admin = kafka.admin(settings)
    try:
        await admin.start()
        cluster = await admin.describe_cluster()
    finally:
        await admin.close()
    return f"{len(cluster['brokers'])} broker at {settings.kafka_bootstrap_servers}"


async def _topics(settings: Settings) -> str:
    try:
        wanted = list(topic_configs(settings, load_routes(settings.routes_file)))
    except RouteError as error:
        raise Wrong("cannot say which topics: the routes cannot be loaded") from error
    admin = kafka.admin(settings)
    try:
        await admin.start()
        there = set(await admin.list_topics())
    finally:
        await admin.close()
    missing = [topic for topic in wanted if topic not in there]
    if missing:
        raise Wrong(f"missing: {', '.join(missing)}; run `headrace setup`")
    return f"{len(wanted)} there"


async def _temporal(settings: Settings) -> str:
    client = await temporal.entered(settings)
    return f"namespace {client.namespace} at {client.service_client.config.target_host}"


async def _search_attributes(settings: Settings) -> str:
    client = await temporal.connect(settings)
    try:
        missing = await search_attributes.missing(client)
    except search_attributes.CannotBeMade as error:
        raise Wrong(str(error)) from error
    if missing:
        raise Wrong(f"not registered: {', '.join(missing)}; every start would be refused. Run `headrace setup`")
    return f"{', '.join(SEARCH_ATTRIBUTES)} registered"


async def _retention(settings: Settings) -> str:
    client = await temporal.connect(settings)
    answer = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    kept = answer.config.workflow_execution_retention_ttl.ToTimedelta()
    if kept < _MIN_RETENTION:
        raise Wrong(
            f"namespace {client.namespace} forgets closed workflows after {kept}; a redelivered event would run again. Set it above Kafka's"
            f" own retention: temporal operator namespace update -n {client.namespace} --retention 720h"
        )
    return f"closed workflows are kept for {kept.days} days"


async def _bucket(settings: Settings) -> str:
    client = s3.client(settings)
    try:
        await asyncio.to_thread(client.head_bucket, Bucket=settings.s3_bucket)
    except ClientError as error:
        if s3_refusals.code_of(error) in ("404", "NoSuchBucket"):
            raise Wrong(f"bucket {settings.s3_bucket} is missing; run `headrace setup`") from error
        raise
    finally:
        client.close()
    return f"bucket {settings.s3_bucket} at {settings.s3_endpoint_url or 'AWS'}"


async def _database(settings: Settings) -> str:
    made = engine_of(settings)
    try:
        revision = await migrate.current(made)
    finally:
        await made.dispose()
    match migrate.standing(revision):
        case "missing":
            raise Wrong("no tables; run `headrace setup`")
        case "older":
            raise Wrong(f"revision {revision}, and this version of Headrace needs {migrate.newest()}; run `headrace setup`")
        case "foreign":
            raise Wrong(f"revision {revision!r} is not Headrace's: give it a database of its own (HEADRACE_DATABASE_URL)")
        case "newer":
            raise Doubtful(
                f"revision {revision} is of a newer Headrace, and this one's own is {migrate.newest()}: an upgrade is under way?"
            )
    return f"revision {revision}"


def _keys(settings: Settings) -> list[Finding]:
    return [
        Finding("openai", "ok", "OPENAI_API_KEY is set")
        if settings.openai_api_key
        else Finding("openai", "warning", "OPENAI_API_KEY is not set: requests with backend openai will fail"),
        Finding("huggingface", "ok", "HF_TOKEN is set")
        if settings.huggingface_token
        else Finding("huggingface", "warning", "HF_TOKEN is not set: requests with backend huggingface will fail"),
    ]
