"""Sends one image request with Confluent's own serializer and prints its event ID: nothing of Headrace is imported."""

import os
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

SERVERS, REGISTRY, AVSC = sys.argv[1], sys.argv[2], Path(sys.argv[3])
TOPIC = os.environ.get("HEADRACE_TOPIC_PREFIX", "") + "image.requests"
# `headrace setup` has registered the schema under <topic>-<record>: nothing is registered here, and a key that may read is enough.
CONF = {"auto.register.schemas": False, "use.latest.version": True, "subject.name.strategy.type": "TOPIC_RECORD"}

event_id = uuid.uuid4()
request = {"event_id": event_id, "user_id": "confluent", "requested_at": datetime.now(UTC), "prompt": "A water mill", "backend": "local"}
serialize = AvroSerializer(SchemaRegistryClient({"url": REGISTRY, "timeout": 30}), AVSC.read_text("utf-8"), conf=CONF)
producer = Producer({"bootstrap.servers": SERVERS, "enable.idempotence": True})
refused = []
producer.produce(
    TOPIC,
    serialize(request, SerializationContext(TOPIC, MessageField.VALUE)),
    key=b"confluent",
    on_delivery=lambda error, _: refused.append(error) if error else None,
)
if producer.flush(30) or refused:
    sys.exit(f"not sent: {refused or 'Kafka does not answer'}")
print(event_id)
