"""Reads image completions with Confluent's own deserializer until that of one event, which it prints: nothing of Headrace is imported."""

import json
import os
import sys
import time
import uuid

from confluent_kafka import Consumer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

SERVERS, REGISTRY, EVENT_ID = sys.argv[1], sys.argv[2], uuid.UUID(sys.argv[3])
TOPIC = os.environ.get("HEADRACE_TOPIC_PREFIX", "") + "image.completions"

deserialize = AvroDeserializer(SchemaRegistryClient({"url": REGISTRY, "timeout": 30}))
# A group of its own for each run: this one wants to see everything. A service keeps its group, and drops repeats by completion_id.
consumer = Consumer({"bootstrap.servers": SERVERS, "group.id": f"example-{uuid.uuid4()}", "auto.offset.reset": "earliest"})
consumer.subscribe([TOPIC])
ends = time.monotonic() + 60
try:
    while time.monotonic() < ends:
        record = consumer.poll(1.0)
        if record is None or record.error():
            continue
        completion = deserialize(record.value(), SerializationContext(TOPIC, MessageField.VALUE))
        if completion["event_id"] == EVENT_ID:
            print(json.dumps(completion, default=str))
            sys.exit()
    sys.exit(f"no completion of {EVENT_ID} within 60 seconds")
finally:
    consumer.close()
