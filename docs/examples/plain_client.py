"""One image request and its completion with fastavro, aiokafka and the .avsc files: nothing of Headrace is imported."""

import asyncio
import io
import json
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

import fastavro
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from fastavro.schema import fingerprint, load_schema, to_parsing_canonical_form

SERVERS, AVRO = sys.argv[1], Path(sys.argv[2])  # 127.0.0.1:9092 schemas/avro/image
REQUESTED, COMPLETED = load_schema(AVRO / "ImageGenerationRequested.avsc"), load_schema(AVRO / "ImageGenerationCompleted.avsc")


async def main() -> None:
    event_id = uuid.uuid4()
    request = {"event_id": event_id, "user_id": "plain", "requested_at": datetime.now(UTC), "prompt": "A water mill", "backend": "local"}
    value = io.BytesIO()
    # Avro single-object encoding: c3 01, then the fingerprint (fastavro's hex is already little-endian), then the body.
    value.write(b"\xc3\x01" + bytes.fromhex(fingerprint(to_parsing_canonical_form(REQUESTED), "CRC-64-AVRO")))
    fastavro.schemaless_writer(value, REQUESTED, request)
    consumer = AIOKafkaConsumer("image.completions", bootstrap_servers=SERVERS, auto_offset_reset="earliest")
    async with AIOKafkaProducer(bootstrap_servers=SERVERS, acks="all") as producer, consumer:
        await producer.send_and_wait("image.requests", value.getvalue(), key=b"plain")
        async for record in consumer:
            if dict(record.headers)["ce_type"] != COMPLETED["name"].encode():
                continue  # the topic has completions of other records too
            completion = fastavro.schemaless_reader(io.BytesIO(record.value[10:]), COMPLETED, None)
            if completion["event_id"] == event_id:
                print(json.dumps(completion, default=str))
                return


asyncio.run(asyncio.wait_for(main(), 60))
