"""Makes what the services need and do not make themselves: topics, schemas, tables, bucket, search attributes, schedules. Idempotent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, for_code
from botocore.exceptions import BotoCoreError, ClientError
from sqlalchemy.exc import SQLAlchemyError
from temporalio.client import Client
from temporalio.service import RPCError

from headrace import kafka, s3, s3_refusals, search_attributes, subjects, temporal
from headrace.errors import SetupError, SetupRefusedError
from headrace.registry import NotPermitted, Registry, SchemaRefusedError
from headrace.schedules import SCHEDULES, upsert
from headrace.search_attributes import SEARCH_ATTRIBUTES
from headrace.settings import Settings
from headrace.store import away, migrate
from headrace.store.engine import engine_of, shown
from headrace.subjects import UnfitSchemaError
from headrace.temporal_refusals import why
from schemas.errors import Transient, bounded
from schemas.routes import Routes, load_routes
from schemas.topics import Topics

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

PARTITIONS = 6
"""Of a new topic. More can be added later; records of one key then go to another partition than those before them."""
MAX_REPLICAS = 3

_DEAD_LETTERS = {
    "max.message.bytes": str(kafka.MAX_RECORD_BYTES),
    # A dead letter waits for somebody, however long that takes.
    "retention.ms": "-1",
    # It keeps its record's time, which may be wrong by any amount: Kafka refuses one that is an hour ahead of its clock.
    "message.timestamp.after.max.ms": str(2**63 - 1),
}
_TEMPORAL_SECONDS = 10.0
_ALREADY_EXISTS = 36
_NO_PLACE = 38
_FENCED_SECONDS, _ASK_AGAIN_SECONDS = 30.0, 0.5

Say = Callable[[str], None]


async def run(settings: Settings, say: Say = print) -> None:
    """Says one line for each thing made or found. Raises `SetupError`, `SettingsError`, and `schemas.routes.RouteError`."""
    routes = load_routes(settings.routes_file)
    await _topics(settings, routes, say)
    await _schemas(settings, routes, say)
    await _tables(settings, say)
    await _bucket(settings, say)
    client = await _search_attributes(settings, say)
    await _schedules(settings, client, say)


def topic_configs(settings: Settings, routes: Routes) -> dict[str, dict[str, str]]:
    """Every topic that is needed, with what differs from the broker's own configuration."""
    topics = Topics(settings.topic_prefix)
    wanted: dict[str, dict[str, str]] = {}
    for domain in routes.domains():
        requests = topics.requests(domain)
        wanted[requests] = {}
        wanted[topics.dead_letters(requests)] = _DEAD_LETTERS
        wanted[topics.completions(domain)] = {}
    wanted[topics.commands] = {}
    wanted[topics.dead_letters(topics.commands)] = _DEAD_LETTERS
    wanted[topics.history] = {}
    return wanted


async def _topics(settings: Settings, routes: Routes, say: Say) -> None:
    wanted = topic_configs(settings, routes)
    admin = kafka.admin(settings)
    try:
        await admin.start()
        answers, replicas = await _created(admin, wanted)
    except KafkaError as error:
        raise _away("Kafka", settings.kafka_bootstrap_servers, "HEADRACE_KAFKA_BOOTSTRAP_SERVERS", _words(error)) from error
    finally:
        await admin.close()
    for topic, code, *message in answers:
        if code not in (0, _ALREADY_EXISTS):
            detail = f"{for_code(code).__name__}: {(message or [''])[0] or ''}".rstrip(": ")
            raise SetupRefusedError(f"Kafka at {settings.kafka_bootstrap_servers} does not make the topic {topic}: {detail}")
    made = {topic for topic, code, *_ in answers if code == 0}
    for topic in wanted:
        say(f"topic {topic}: made, {PARTITIONS} partitions, {replicas} replicas" if topic in made else f"topic {topic}: there")


async def _created(admin: AIOKafkaAdminClient, wanted: Mapping[str, dict[str, str]]) -> tuple[list[Any], int]:
    """Kafka's answer for each topic that was not there, and the number of replicas.

    A broker that was starved for two seconds is fenced for a moment, and then no topic has a place: it is asked again for a while.
    """
    deadline = time.monotonic() + _FENCED_SECONDS
    answers: dict[str, Any] = {}
    while True:
        there = set(await admin.list_topics())
        replicas = max(1, min(MAX_REPLICAS, len((await admin.describe_cluster())["brokers"])))
        new = [
            NewTopic(name=topic, num_partitions=PARTITIONS, replication_factor=replicas, topic_configs=config)
            for topic, config in wanted.items()
            if topic not in there
        ]
        # It does not raise: each topic has its own answer.
        answers.update({answer[0]: answer for answer in ((await admin.create_topics(new)).topic_errors if new else [])})
        if not any(code == _NO_PLACE for _, code, *_ in answers.values()) or time.monotonic() > deadline:
            return list(answers.values()), replicas
        await asyncio.sleep(_ASK_AGAIN_SECONDS)


async def _schemas(settings: Settings, routes: Routes, say: Say) -> None:
    try:
        registry = Registry.of(settings)
    except ValueError as error:
        raise SetupRefusedError(str(error)) from error
    if registry is None:
        return
    try:
        await subjects.register(registry, subjects.subjects(routes, Topics(settings.topic_prefix)), say)
    except (UnfitSchemaError, SchemaRefusedError, NotPermitted) as error:
        raise SetupRefusedError(f"The schema registry at {registry.address} cannot be set up: {error}") from error
    except Transient as error:
        raise _away("The schema registry", registry.address, "HEADRACE_SCHEMA_REGISTRY_URL", _words(error)) from error
    finally:
        await registry.close()


async def _tables(settings: Settings, say: Say) -> None:
    database, url = engine_of(settings), shown(settings.database_url)
    try:
        before = await migrate.current(database)
        await migrate.upgrade(database)
    except (SQLAlchemyError, OSError) as error:
        raise _away("The database", url, "HEADRACE_DATABASE_URL", away.why(error)) from error
    finally:
        await database.dispose()
    match migrate.standing(before):
        case "newer":
            say(f"tables in {url}: revision {before} of a newer Headrace, left as they are (this one's own is {migrate.newest()})")
        case "same":
            say(f"tables in {url}: there")
        case _:
            say(f"tables in {url}: made, revision {migrate.newest()}")


async def _bucket(settings: Settings, say: Say) -> None:
    address = settings.s3_endpoint_url or f"AWS, region {settings.s3_region}"
    try:
        client = s3.client(settings)
        try:
            made = await asyncio.to_thread(_make_bucket, client, settings)
        finally:
            client.close()
    except (BotoCoreError, ClientError, ValueError) as error:
        said = _words(error) if isinstance(error, ValueError) else bounded(s3_refusals.why(error), 300)
        raise _away(f"The bucket {settings.s3_bucket} at S3", address, "HEADRACE_S3_ENDPOINT_URL and HEADRACE_S3_BUCKET", said) from error
    say(f"bucket {settings.s3_bucket}: {'made' if made else 'there'}")


def _make_bucket(client: S3Client, settings: Settings) -> bool:
    try:
        client.head_bucket(Bucket=settings.s3_bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("404", "NoSuchBucket", "NotFound"):
            raise
    else:
        return False
    place: dict[str, Any] = {}
    if settings.s3_endpoint_url is None and settings.s3_region != "us-east-1":
        place["CreateBucketConfiguration"] = {"LocationConstraint": settings.s3_region}
    try:
        client.create_bucket(Bucket=settings.s3_bucket, **place)
    except client.exceptions.BucketAlreadyOwnedByYou:
        return False
    return True


async def _search_attributes(settings: Settings, say: Say) -> Client:
    try:
        client = await asyncio.wait_for(temporal.entered(settings), _TEMPORAL_SECONDS)
        new = await asyncio.wait_for(search_attributes.add(client), _TEMPORAL_SECONDS)
        await search_attributes.until_visible(client)
    except search_attributes.CannotBeMade as error:
        raise SetupRefusedError(str(error)) from error
    except (RPCError, RuntimeError, TimeoutError) as error:
        raise _temporal_away(settings, error) from error
    for name in SEARCH_ATTRIBUTES:
        say(f"search attribute {name}: {'made' if name in new else 'there'}")
    return client


async def _schedules(settings: Settings, client: Client, say: Say) -> None:
    for name, schedule in SCHEDULES.items():
        try:
            made = await asyncio.wait_for(upsert(client, name, schedule), _TEMPORAL_SECONDS)
        except (RPCError, TimeoutError) as error:
            raise _temporal_away(settings, error) from error
        say(f"schedule {name}: {'made' if made else 'there'}")


def _temporal_away(settings: Settings, error: BaseException) -> SetupError:
    return _away("Temporal", temporal.address(settings), "TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE", bounded(why(error), 300))


def _away(part: str, address: str, setting: str, said: str) -> SetupError:
    return SetupError(f"{part} ({address}) cannot be set up: {said}. Is it up, and is {setting} right?")


def _words(error: BaseException) -> str:
    return bounded(str(error) or type(error).__name__, 300)
