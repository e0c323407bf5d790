"""The parts that a command talks to; what goes wrong with one ends the command with a sentence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from aiokafka.errors import KafkaError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client
from temporalio.service import RPCError

from headrace import temporal
from headrace.cli.errors import CommandError, Exit
from headrace.settings import Settings, SettingsError
from headrace.store import away
from headrace.store.engine import engine_of
from headrace.temporal_refusals import why
from headrace.wire import Wire
from schemas.catalog import Catalog, shipped
from schemas.errors import Transient
from schemas.routes import Routes

_PATIENCE_SECONDS = 15.0
"""Longer than SQLite waits for a lock."""
_TEMPORAL_SECONDS = 10.0


@asynccontextmanager
async def opened_database(settings: Settings, *, seconds: float | None = _PATIENCE_SECONDS) -> AsyncIterator[AsyncEngine]:
    """The database, for so long at the most. Its errors end the command with 4, one that cannot be used with 2."""
    try:
        database = engine_of(settings)
    except SettingsError as error:
        raise CommandError(Exit.USAGE, str(error)) from error
    address = database.url.render_as_string(hide_password=True)
    try:
        if database.dialect.name == "sqlite" and not Path(database.url.database or "").exists():  # noqa: ASYNC240 - one stat
            raise CommandError(Exit.UNREACHABLE, f"{address} is not there (HEADRACE_DATABASE_URL): `headrace setup` makes it")
        async with asyncio.timeout(seconds):
            yield database
    except (SQLAlchemyError, OSError) as error:
        raise CommandError(
            Exit.UNREACHABLE,
            f"the database {address} does not answer ({away.why(error)}):"
            " is it up, is HEADRACE_DATABASE_URL right, has `headrace setup` run?",
        ) from error
    finally:
        await database.dispose()


@asynccontextmanager
async def opened_wire(settings: Settings, routes: Routes) -> AsyncIterator[Wire]:
    """What reads Kafka's records. Kafka, the schema registry and S3 being away end the command with 4."""
    wire = Wire.of(settings, Catalog([*shipped(), *routes.schemas()]))
    try:
        yield wire
    except Transient as error:
        raise CommandError(Exit.UNREACHABLE, f"{error}: is it up? `headrace status`") from error
    except KafkaError as error:
        raise CommandError(
            Exit.UNREACHABLE, f"Kafka at {settings.kafka_bootstrap_servers} does not answer ({error}): is it up? `headrace status`"
        ) from error
    finally:
        await wire.close()


@contextmanager
def temporal_answers(settings: Settings) -> Iterator[None]:
    """Temporal being away ends the command with 4."""
    try:
        yield
    except (RPCError, RuntimeError, TimeoutError) as error:
        raise CommandError(
            Exit.UNREACHABLE,
            f"Temporal at {temporal.address(settings)} does not answer ({why(error)}):"
            " is it up, is TEMPORAL_ADDRESS right? `headrace doctor`",
        ) from error


async def connected(settings: Settings) -> Client:
    """Raises `CommandError` (4)."""
    with temporal_answers(settings):
        return await asyncio.wait_for(temporal.connect(settings), _TEMPORAL_SECONDS)
