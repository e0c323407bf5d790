"""`python -m benchmarks.explain [--events 1000000]`: how long `headrace explain` takes where the ledger knows so many events.

Each event has its row in the ledger, its completion and its history entry, each hundredth a dead letter as well. Beside them
`--asked` events have a record in Kafka and a run in Temporal. Measured: the SQL alone, all places side by side in one process, and the
whole command as a shell starts it, Python's own start included.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from statistics import median
from typing import Any
from uuid import UUID, uuid4

from aiokafka import AIOKafkaProducer

from benchmarks.ingress.place import Place
from benchmarks.ingress.report import RESULTS, machine
from headrace import logs, setup, temporal
from headrace.explain import rows
from headrace.explain.asking import explain, unasked
from headrace.lifecycle import leave
from headrace.settings import Settings
from headrace.stack.supervisor import Stack
from headrace.store.engine import engine
from schemas.ids import completion_id, workflow_id
from schemas.image import ImageGenerationRequested
from schemas.request import Accepted, Origin
from schemas.routes import load_routes
from schemas.topics import Topics
from tests.support.ingress import fields, framed

_RECORD = "headrace.image.ImageGenerationRequested"
_AT = "2026-11-25 12:00:00.000000"
_CHUNK = 20_000


def event(number: int) -> UUID:
    return UUID(int=Random(number).getrandbits(128), version=4)  # noqa: S311 - not a secret


def fill(file: Path, events: int) -> None:
    """The rows, past SQLAlchemy: a million of each in a minute or so."""
    database = sqlite3.connect(file)
    for begin in range(0, events, _CHUNK):
        numbers = range(begin, min(begin + _CHUNK, events))
        ids = [event(number) for number in numbers]
        with database:
            database.executemany(
                'INSERT INTO ledger (event_id, record, payload_sha256, topic, partition, "offset", disposition, workflow_id, run_id,'
                " claimed_at, settled_at) VALUES (?, ?, ?, 'image.requests', 0, ?, 'started', ?, ?, ?, ?)",
                ((each.hex, _RECORD, bytes(32), n, f"image-{each}", str(each), _AT, _AT) for n, each in zip(numbers, ids, strict=True)),
            )
            database.executemany(
                'INSERT INTO completions (completion_id, event_id, record, status, topic, partition, "offset", decided_at, published_at)'
                " VALUES (?, ?, 'r', 'SUCCEEDED', 'image.completions', 0, ?, ?, ?)",
                ((completion_id(each).hex, each.hex, n, _AT, _AT) for n, each in zip(numbers, ids, strict=True)),
            )
            database.executemany(
                "INSERT INTO history (history_id, event_id, user_id, domain, workflow_id, run_id, status, prompt, recorded_at)"
                " VALUES (?, ?, 'u', 'image', ?, ?, 'SUCCEEDED', 'p', ?)",
                ((each.hex, each.hex, f"image-{each}", str(each), _AT) for each in ids),
            )
            database.executemany(
                'INSERT INTO dead_letters (topic, partition, "offset", event_id, reason, message, dlq_topic, dlq_partition, dlq_offset,'
                " dead_lettered_at) VALUES ('image.requests', 1, ?, ?, 'invalid', 'm', 'image.requests.dlq', 0, ?, ?)",
                ((n, each.hex, n, _AT) for n, each in zip(numbers, ids, strict=True) if n % 100 == 0),
            )
    database.close()


async def sql(settings: Settings, asked: list[UUID]) -> list[float]:
    """Milliseconds for the rows of an event, on a connection of its own each."""
    took = []
    for event_id in asked:
        database = engine(settings.database_url)
        began = time.perf_counter()
        found = await rows.facts(database, event_id)
        took.append((time.perf_counter() - began) * 1000)
        await database.dispose()
        assert found
    return took


async def alive(settings: Settings, count: int) -> list[UUID]:
    """Events that all three places know: a record in Kafka, a run in Temporal, a row."""
    topic, ids = Topics(settings.topic_prefix).requests("image"), [uuid4() for _ in range(count)]
    client, producer = await temporal.connect(settings), AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers)
    await producer.start()
    file = engine(settings.database_url).url.database
    assert file is not None
    database = sqlite3.connect(file)
    for event_id in ids:
        made = fields(event_id=event_id)
        place = await producer.send_and_wait(topic, framed(made), key=b"u")
        origin = Origin(topic=topic, partition=place.partition, offset=place.offset)
        accepted: Accepted[Any] = Accepted(request=ImageGenerationRequested.model_validate(made), origin=origin)
        identity = workflow_id("image", event_id)
        handle = await client.start_workflow("Nobody", accepted, id=identity, task_queue="bench-explain")
        with database:
            database.execute(
                'INSERT INTO ledger (event_id, record, payload_sha256, topic, partition, "offset", disposition, workflow_id, run_id,'
                " claimed_at, settled_at) VALUES (?, ?, ?, ?, ?, ?, 'started', ?, ?, ?, ?)",
                (event_id.hex, _RECORD, bytes(32), topic, place.partition, place.offset, identity, handle.result_run_id, _AT, _AT),
            )
    await producer.stop()
    database.close()
    return ids


async def in_process(settings: Settings, asked: list[UUID]) -> list[float]:
    took = []
    domains = load_routes(settings.routes_file).domains()
    for event_id in asked:
        began = time.perf_counter()
        facts = await explain(settings, event_id, domains)
        took.append((time.perf_counter() - began) * 1000)
        assert not unasked(facts), facts
        assert {"requested", "claimed", "run_started"} <= {fact.what for fact in facts}, facts
    return took


async def as_a_command(environment: dict[str, str], asked: list[UUID]) -> list[float]:
    took = []
    for event_id in asked:
        began = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "headrace.cli.main", "explain", str(event_id), "--json"),
            env={**os.environ, **environment},
            stdout=asyncio.subprocess.PIPE,
        )
        await process.communicate()
        took.append((time.perf_counter() - began) * 1000)
        assert process.returncode == 0
    return took


def of(took: list[float]) -> dict[str, float]:
    ordered = sorted(took)
    return {
        "median_ms": round(median(ordered), 1),
        "p95_ms": round(ordered[int(0.95 * (len(ordered) - 1))], 1),
        "most_ms": round(ordered[-1], 1),
    }


def spread(events: int, count: int) -> Iterator[UUID]:
    return (event(number) for number in Random(7).sample(range(events), count))  # noqa: S311 - not a secret


async def run(events: int, asked: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        async with Stack(Path(folder), services=False) as stack:
            place = Place.new("explain", stack.addresses.environment(), Path(folder))
            settings = place.settings
            await setup.run(settings, lambda _: None)
            file = engine(settings.database_url).url.database
            assert file is not None
            began = time.monotonic()
            await asyncio.to_thread(fill, Path(file), events)
            filled = time.monotonic() - began
            known = await alive(settings, asked)
            return {
                **machine(),
                "events": events,
                "filled_seconds": round(filled, 1),
                "database_mebibytes": round(Path(file).stat().st_size / 2**20),  # noqa: ASYNC240 - one stat
                "sql": of(await sql(settings, list(spread(events, asked * 5)))),
                "every_place": of(await in_process(settings, known)),
                "command": of(await as_a_command(place.environment, known[: asked // 4])),
            }


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.explain")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--asked", type=int, default=40)
    asked = parser.parse_args(arguments)
    logs.configure("ERROR")
    result = asyncio.run(run(asked.events, asked.asked))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "explain.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
    leave(0)
