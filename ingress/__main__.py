"""`python -m ingress`: the composition root."""

from __future__ import annotations

import asyncio
import contextlib

from headrace import health, kafka, temporal
from headrace.lifecycle import run_service
from headrace.patience import Stopped, until_there
from headrace.settings import Settings
from headrace.wire import Wire
from ingress.consumer import Consumer
from ingress.dead_letter import DeadLetters
from ingress.decode import Decoder
from ingress.pipeline import Pipeline
from ingress.rejection import Rejections
from ingress.start import Starter
from schemas.catalog import Catalog, shipped
from schemas.routes import load_routes
from schemas.topics import Topics

_HEARTBEAT_MS = 1000
_FETCH_BYTES = 8 * 1024 * 1024
_STOP_SECONDS = 5.0


async def main(settings: Settings, stop: asyncio.Event) -> None:
    """Runs until `stop` is set; raises what no record should be blamed for."""
    routes, topics = load_routes(settings.routes_file), Topics(settings.topic_prefix)
    wire = Wire.of(settings, Catalog([*shipped(), *routes.schemas()]))
    producer = kafka.producer(settings, idempotent=False)
    try:
        await until_there("kafka", producer.start, stop)
        client = await temporal.connect(settings, lazy=True)
        pipeline = Pipeline(
            Decoder(wire, routes, topics),
            Starter(client, settings.ingress_start_seconds),
            DeadLetters(producer, topics),
            Rejections(producer, wire, topics),
        )
        consumer = Consumer(
            kafka.consumer(
                settings,
                group_id=settings.ingress_group,
                heartbeat_interval_ms=_HEARTBEAT_MS,
                rebalance_timeout_ms=int(settings.ingress_drain_seconds * 1000) + 10_000,
                fetch_max_bytes=_FETCH_BYTES,
            ),
            [topics.requests(domain) for domain in routes.domains()],
            pipeline.dispose,
            max_in_flight=settings.ingress_max_in_flight,
            drain_seconds=settings.ingress_drain_seconds,
        )
        async with health.serve(settings.health_port, lambda: consumer.ready):
            stopping = asyncio.create_task(_stop_when(stop, consumer))
            try:
                await consumer.run()
            finally:
                stopping.cancel()
    except Stopped:
        return
    finally:
        # Without a broker stop() would not end.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(producer.stop(), _STOP_SECONDS)
        await wire.close()


async def _stop_when(stop: asyncio.Event, consumer: Consumer) -> None:
    await stop.wait()
    consumer.stop()


if __name__ == "__main__":
    run_service(main)
