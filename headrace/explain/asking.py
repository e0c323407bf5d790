"""Asks every place for an event, side by side, each for a bounded time; a place that does not answer is a line of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from temporalio.service import RPCError

from headrace import temporal
from headrace.explain import rows
from headrace.explain.facts import Fact, in_order
from headrace.explain.request import request
from headrace.explain.runs import Runs, runs
from headrace.settings import Settings
from headrace.store import away
from headrace.store.engine import engine_of
from headrace.temporal_refusals import why
from schemas.command import COMMAND
from schemas.errors import bounded

T = TypeVar("T")

PLACES = ("database", "temporal", "kafka")
_SECONDS = 5.0
"""For each place."""


async def explain(settings: Settings, event_id: UUID, domains: list[str]) -> list[Fact]:
    """All that is known, by time. Raises nothing that a place raises."""
    (kept, no_rows), (ran, no_runs) = await asyncio.gather(
        _ask("database", settings.database_url.rsplit("@", 1)[-1], _rows(settings, event_id)),
        _ask("temporal", temporal.address(settings), _runs(settings, event_id, domains)),
    )
    kept, ran = kept or [], ran or Runs()
    # Where the record is, the ledger knows, or the run, or the dead letter.
    at = _request_at(kept) or ran.request_at
    found, no_record = await _ask("kafka", settings.kafka_bootstrap_servers, _record(settings, event_id, at))
    record, of_record = found or (None, None)
    facts = [*([record] if record else []), *kept, *ran.facts, *([] if no_runs else _unknown(kept, ran))]
    if traceparent := ran.traceparent or of_record:
        facts.append(Fact(None, "traced", None, {"trace_id": traceparent.split("-")[1], "traceparent": traceparent}))
    return in_order([*facts, *(each for each in (no_rows, no_runs, no_record) if each is not None)])


def unasked(facts: list[Fact]) -> list[str]:
    """The places that did not answer."""
    return [str(fact.where) for fact in facts if fact.what == "not_asked"]


async def _ask(name: str, address: str, work: Coroutine[Any, Any, T]) -> tuple[T | None, Fact | None]:
    try:
        async with asyncio.timeout(_SECONDS):
            return await work, None
    except TimeoutError:
        said = f"no answer within {_SECONDS:g} s"
    except RPCError as error:
        said = why(error)
    except Exception as error:  # noqa: BLE001 - whatever a client raises, the place does not answer
        said = away.why(error) if name == "database" else bounded(str(error) or repr(error), 300)
    return None, Fact(None, "not_asked", name, {"address": address, "why": said})


async def _rows(settings: Settings, event_id: UUID) -> list[Fact]:
    database = engine_of(settings)
    try:
        file = database.url.database
        if database.dialect.name == "sqlite" and not Path(file or "").exists():  # noqa: ASYNC240 - one stat; connecting would make it
            raise FileNotFoundError(f"{file} is not there: `headrace setup` makes it")
        return await rows.facts(database, event_id)
    finally:
        await database.dispose()


async def _runs(settings: Settings, event_id: UUID, domains: list[str]) -> Runs:
    return await runs(await temporal.connect(settings, own_retries=False), event_id, domains)


async def _record(settings: Settings, event_id: UUID, at: tuple[str, int, int] | None) -> tuple[Fact | None, str | None]:
    return (None, None) if at is None else await request(settings, event_id, at)


def _request_at(kept: list[Fact]) -> tuple[str, int, int] | None:
    """The record of the ledger's row, else that of a dead letter."""
    claimed = [fact.where for fact in kept if fact.what == "claimed"]
    refused = [str(fact.details["record_at"]) for fact in kept if fact.what == "dead_lettered"]
    for where in [*claimed, *refused]:
        topic, partition, offset = str(where).rsplit(":", 2)
        return topic, int(partition), int(offset)
    return None


def _unknown(kept: list[Fact], ran: Runs) -> list[Fact]:
    """The runs that were started and that Temporal does not know: their retention has passed, or somebody has deleted them."""
    record = next((fact.details["record"] for fact in kept if fact.what == "claimed"), None)
    started = [fact for fact in kept if fact.what in ("started", "rerun") and record != COMMAND]
    return [
        Fact(None, "run_unknown", fact.where, {"why": "its retention in Temporal has passed, or it was deleted"})
        for fact in started
        if (run_id := str(fact.where).rpartition("/")[2]) and run_id not in ran.run_ids
    ]
