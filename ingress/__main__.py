"""`python -m ingress`: the composition root."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from sqlalchemy.ext.asyncio import AsyncEngine

from headrace import health, kafka, temporal
from headrace.lifecycle import run_service
from headrace.patience import Stopped, until_there
from headrace.references import References
from headrace.settings import Settings
from headrace.store.engine import engine_of
from headrace.wire import Wire
from ingress import metrics
from ingress.breaker import Breakers
from ingress.consumer import Bounds, Consumer
from ingress.dead_letter import DeadLetters
from ingress.decode import Decoder
from ingress.fetch import Fetcher
from ingress.ledger import Ledger
from ingress.limit import AdaptiveLimit
from ingress.pipeline import Pipeline
from ingress.rejection import Rejections
from ingress.room import Room
from ingress.signal import Signaller
from ingress.start import Sizes, Starter
from ingress.watchdog import LoopWatchdog, watch
from schemas.routes import Routes, load_routes
from schemas.topics import Topics

_FETCH_BYTES = 8 * 1024 * 1024
_STOP_SECONDS = 5.0
_ASK_SECONDS = 10.0


async def main(settings: Settings, stop: asyncio.Event) -> None:
    """Runs until `stop` is set; raises what no record should be blamed for."""
    routes, topics = load_routes(settings.routes_file), Topics(settings.topic_prefix)
    async with contextlib.AsyncExitStack() as stack:
        watchdog = stack.enter_context(LoopWatchdog(settings.ingress_watchdog_seconds))
        database = engine_of(settings, "ingress")
        stack.push_async_callback(database.dispose)
        breakers = await stack.enter_async_context(
            Breakers(
                database,
                window=settings.breaker_window,
                share=settings.breaker_share,
                consecutive=settings.breaker_consecutive,
                in_flight=settings.ingress_max_in_flight,
            )
        )
        with contextlib.suppress(Stopped):
            bounds = Bounds(settings.ingress_max_in_flight, settings.ingress_drain_seconds)
            room = Room(settings.ingress_max_bytes, bounds.records_of_a_partition)
            pipeline = await stack.enter_async_context(_pipeline(settings, routes, topics, breakers, database, room, stop))
            consumer = Consumer(
                kafka.consumer(
                    settings,
                    group_id=settings.ingress_group,
                    session_timeout_ms=int(settings.ingress_session_seconds * 1000),
                    heartbeat_interval_ms=int(settings.ingress_session_seconds * 100),
                    rebalance_timeout_ms=int(_rebalance_seconds(settings) * 1000),
                    fetch_max_bytes=_FETCH_BYTES,
                ),
                [*(topics.requests(domain) for domain in routes.domains()), topics.commands],
                pipeline,
                breakers,
                bounds,
                room,
            )
            await stack.enter_async_context(health.serve(settings, lambda: consumer.ready and not breakers.open_routes()))
            await _run(consumer, watchdog, settings, stop)


def _rebalance_seconds(settings: Settings) -> float:
    return settings.ingress_drain_seconds + 10.0


async def _run(consumer: Consumer, watchdog: LoopWatchdog, settings: Settings, stop: asyncio.Event) -> None:
    """The consumer beside those who watch it; the first of them that raises ends it."""

    async def stopping() -> None:
        await stop.wait()
        consumer.stop()

    # A rebalance waits for whoever drains longest: that is no standing still.
    patience = max(settings.ingress_watchdog_seconds, 2 * _rebalance_seconds(settings))
    watching = asyncio.create_task(watch(consumer, lambda: _broker_answers(settings), patience))
    watching.add_done_callback(lambda _: consumer.stop())
    others = [watching, asyncio.create_task(stopping()), asyncio.create_task(watchdog.beat())]
    try:
        await consumer.run()
    finally:
        for task in others:
            task.cancel()
        await asyncio.wait(others)
    if not watching.cancelled() and (error := watching.exception()) is not None:
        raise error


@contextlib.asynccontextmanager
async def _pipeline(
    settings: Settings, routes: Routes, topics: Topics, breakers: Breakers, database: AsyncEngine, room: Room, stop: asyncio.Event
) -> AsyncIterator[Pipeline]:
    """The pipeline with all that it needs. Raises `Stopped`."""
    async with contextlib.AsyncExitStack() as stack:
        wire = Wire.of(settings, routes.catalog())
        stack.push_async_callback(wire.close)
        producer = kafka.producer(settings, idempotent=False)
        stack.push_async_callback(_stop, producer)
        await until_there("kafka", producer.start, stop)
        client = await temporal.connect(settings, lazy=True, own_retries=False)
        ledger = await stack.enter_async_context(Ledger(database, days=settings.ledger_days))
        limit = AdaptiveLimit(settings.ingress_min_starts, settings.ingress_max_starts, settings.ingress_start_target_seconds)
        metrics.START_LIMIT.set_function(lambda: limit.limit)
        references = References(settings)
        stack.callback(references.close)
        yield Pipeline(
            Fetcher(references, room, topics),
            Decoder(wire, routes, topics),
            ledger,
            limit,
            Starter(client, settings.ingress_start_seconds, Sizes.of(settings)),
            Signaller(client, ledger.find, routes.domains(), settings.ingress_start_seconds, settings.ingress_command_wait_seconds),
            breakers,
            dead_letters=DeadLetters(producer, topics),
            rejections=Rejections(producer, wire, topics),
        )


async def _stop(producer: AIOKafkaProducer) -> None:
    # Without a broker stop() would not end.
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(producer.stop(), _STOP_SECONDS)


async def _broker_answers(settings: Settings) -> bool:
    """Asked through a client of its own: the consumer's may be what is stuck."""
    admin = kafka.admin(settings)
    try:
        async with asyncio.timeout(_ASK_SECONDS):
            await admin.start()
            await admin.list_topics()
    except (KafkaError, OSError, TimeoutError):
        return False
    finally:
        await admin.close()
    return True


if __name__ == "__main__":
    run_service("ingress", main)
