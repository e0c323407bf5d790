"""The loop that people write by hand, in a process of its own: `python -m benchmarks.ingress.naive one|record|batch`. Prints one JSON line.

`one` starts the records of a batch one after another and commits behind the batch; `record` commits behind each record; `batch` starts all
records of a batch at once. None of them keeps order and concurrency together, takes care of a bad record, or knows what it has seen.
"""

from __future__ import annotations

import argparse
import asyncio

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from temporalio.client import Client
from temporalio.exceptions import WorkflowAlreadyStartedError

from benchmarks.ingress.records import topic
from benchmarks.ingress.starting import start
from benchmarks.ingress.window import OwnWindow
from headrace import kafka, temporal
from headrace.lifecycle import leave
from headrace.settings import Settings, load
from headrace.wire import Wire
from schemas.catalog import Catalog, shipped
from schemas.image import ImageGenerationRequested
from schemas.request import Origin

_BATCH = 64


async def consume(settings: Settings, client: Client, consumer: AIOKafkaConsumer, way: str, window: OwnWindow) -> None:
    wire = Wire.of(settings, Catalog(shipped()))

    async def one(record: ConsumerRecord) -> bool:
        request = ImageGenerationRequested.model_validate((await wire.decode(record.value)).value)
        try:
            await start(client, request, Origin(topic=record.topic, partition=record.partition, offset=record.offset, key=record.key))
        except WorkflowAlreadyStartedError:
            return True  # of the round before, which ended within a batch
        return window.started()

    going = True
    while going:
        fetched: dict[TopicPartition, list[ConsumerRecord]] = await consumer.getmany(timeout_ms=200, max_records=_BATCH)
        records = [record for each in fetched.values() for record in each]
        if way == "batch":
            going = all(await asyncio.gather(*(one(record) for record in records)))
            await consumer.commit()
            continue
        for record in records:
            going = await one(record)
            if way == "record":
                await consumer.commit({TopicPartition(record.topic, record.partition): record.offset + 1})
            if not going:
                return
        if way == "one" and records:
            await consumer.commit()


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("way", choices=["one", "record", "batch"])
    parser.add_argument("--warm", type=float, default=2)
    parser.add_argument("--seconds", type=float, default=5)
    given = parser.parse_args()
    settings = load()
    client = await temporal.connect(settings)
    consumer = kafka.consumer(settings, topic(settings), group_id=settings.ingress_group)
    await consumer.start()
    window = OwnWindow(warm=given.warm, seconds=given.seconds)
    try:
        await asyncio.wait_for(consume(settings, client, consumer, given.way, window), given.warm + given.seconds + 60)
    finally:
        await consumer.stop()
    window.print()


if __name__ == "__main__":
    asyncio.run(main())
    leave(0)
