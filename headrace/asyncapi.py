"""The topics as an AsyncAPI 3.0 document, made from the schemas and the routes: `python -m headrace.asyncapi` prints it as JSON.

"AsyncAPI Specification 3.0.0" and its Kafka bindings 0.5.0. `send` and `receive` are what Headrace does: a client does the other.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from importlib import metadata
from typing import Any

from headrace.settings import Settings, load
from headrace.setup import topic_configs
from schemas import headers
from schemas.codec import Schema
from schemas.command import COMMAND
from schemas.completion import completion_record
from schemas.errors import Reason
from schemas.models import HISTORY
from schemas.objects import REQUESTS
from schemas.routes import Route, Routes, load_routes
from schemas.topics import Topics

Json = dict[str, Any]

_AVRO = "application/vnd.apache.avro+json;version=1.9.0"
_BINDING = {"bindingVersion": "0.5.0"}
_DEAD_LETTER = "DeadLetter"
_UUID: Json = {"type": "string", "format": "uuid"}
_TIME: Json = {"type": "string", "format": "date-time"}

_DESCRIPTION = """\
One request event, one workflow, one completion event.

A value is Avro in one of two frames, told apart by the first bytes; both are understood on every topic that Headrace reads. Without a
schema registry the frame is Avro's single-object encoding: `C3 01`, the CRC-64-AVRO fingerprint of the writer's schema (8 bytes, as in
`x-avro-fingerprints`, the newest version first), the body. With a registry it is Confluent's: `00`, the schema's ID (4 bytes, big-endian),
the body; the subject is `<topic>-<record>`, Confluent's TopicRecordNameStrategy. Headrace writes the second where it has a registry.
"""


def document(settings: Settings, routes: Routes, version: str) -> Json:
    """What Headrace of this version reads and writes with these routes; `settings` give the prefix of the topics."""
    made = _Document(Topics(settings.topic_prefix), routes)
    for domain in routes.domains():
        made.domain(domain, [route for route in routes.all() if route.domain == domain])
    made.commands()
    made.history()
    for topic, config in topic_configs(settings, routes).items():
        if config:
            configuration = {name: int(value) if value.lstrip("-").isdigit() else value for name, value in config.items()}
            made.channels[topic]["bindings"] = {"kafka": {"topicConfiguration": configuration, **_BINDING}}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Headrace", "version": version, "description": _DESCRIPTION, "license": {"name": "Apache-2.0"}},
        "defaultContentType": "application/avro",
        "servers": _servers(),
        "channels": made.channels,
        "operations": made.operations,
        "components": {"messages": made.messages},
    }


class _Document:
    """Channels, operations and messages, as they come together. A channel's ID is its topic, a message's the full name of its record."""

    def __init__(self, topics: Topics, routes: Routes) -> None:
        self._topics = topics
        self._catalog = routes.catalog()
        self.channels: dict[str, Json] = {}
        self.operations: dict[str, Json] = {}
        self.messages: dict[str, Json] = {
            _DEAD_LETTER: {
                "summary": "A record as it was read, byte for byte, with the headers of the dead letter behind its own.",
                "contentType": "application/octet-stream",
                "headers": _dead_letter_headers(),
                "payload": {"type": ["string", "null"], "format": "binary"},
                "bindings": {"kafka": {"key": {"type": ["string", "null"], "format": "binary"}, **_BINDING}},
            }
        }

    def domain(self, domain: str, routes: list[Route]) -> None:
        requests, completions = self._topics.requests(domain), self._topics.completions(domain)
        for route in routes:
            self._message(route.schema, "Records of one key are started in order.", _event_headers(route.record, of_a_client=True))
        answers = [schema for route in routes if (schema := self._completion(route)) is not None]
        for schema in answers:
            self._message(schema, "That of the request.", _event_headers(schema.name))
        self._channel(requests, f"Requests of the domain {domain}.", [route.record for route in routes])
        self._channel(completions, f"One completion for each accepted event of the domain {domain}.", [schema.name for schema in answers])
        for route in routes:
            summary = f"Starts one {route.workflow} for each event ID."
            operation = self._operation(f"{domain}.start.{route.workflow}", "receive", requests, summary, [route.record])
            if (answer := self._completion(route)) is not None:
                operation["reply"] = {"channel": _channel(completions), "messages": [_message_of(completions, answer.name)]}
        self._operation(f"{domain}.complete", "send", completions, "Tells how a request ended.")
        self._dead_letters(f"{domain}.requests", requests)

    def commands(self) -> None:
        topic = self._topics.commands
        key = "The target_event_id: commands of one key are given in order."
        self._message(self._catalog.named(COMMAND), key, _event_headers(COMMAND, of_a_client=True))
        self._channel(topic, "Pause, resume and cancel, for the runs of other events.", [COMMAND])
        self._operation("workflow.command", "receive", topic, "Signals the run of the target, once for each event ID.")
        self._dead_letters("workflow.commands", topic)

    def history(self) -> None:
        topic = self._topics.history
        self._message(self._catalog.named(HISTORY), "That of the request.", _event_headers(HISTORY))
        self._channel(topic, "What became of each request, for a page of history.", [HISTORY])
        self._operation("history.record", "send", topic, "Records how a request ended.")

    def _dead_letters(self, name: str, read: str) -> None:
        topic = self._topics.dead_letters(read)
        self._channel(topic, f"Records of {read} that can never be processed as they are.", [_DEAD_LETTER])
        self._operation(f"{name}.refuse", "send", topic, f"Keeps a record of {read} with the reason why it was refused.")

    def _completion(self, route: Route) -> Schema | None:
        return route.completion or self._catalog.by_name(completion_record(route.record))

    def _message(self, schema: Schema, key: str, event_headers: Json) -> None:
        plain = json.loads(schema.text)
        self.messages[schema.name] = {
            "name": schema.name,
            "summary": plain.get("doc", schema.name),
            "headers": event_headers,
            "payload": {"schemaFormat": _AVRO, "schema": plain},
            "bindings": {
                "kafka": {
                    "key": {"type": "string", "description": key},
                    "schemaIdLocation": "payload",
                    "schemaIdPayloadEncoding": "confluent",
                    "schemaLookupStrategy": "TopicRecordNameStrategy",
                    **_BINDING,
                }
            },
            "x-avro-fingerprints": list(dict.fromkeys(version.fingerprint.hex() for version in (schema, *reversed(schema.past)))),
        }

    def _channel(self, topic: str, summary: str, records: Iterable[str]) -> None:
        messages = {record: {"$ref": f"#/components/messages/{record}"} for record in records}
        self.channels[topic] = {"address": topic, "summary": summary, "messages": messages}

    def _operation(self, name: str, action: str, topic: str, summary: str, records: Iterable[str] = ()) -> Json:
        operation: Json = {"action": action, "channel": _channel(topic), "summary": summary}
        if messages := [_message_of(topic, record) for record in records]:
            operation["messages"] = messages
        self.operations[name] = operation
        return operation


def _channel(topic: str) -> Json:
    return {"$ref": f"#/channels/{topic}"}


def _message_of(topic: str, record: str) -> Json:
    return {"$ref": f"#/channels/{topic}/messages/{record}"}


def _servers() -> Json:
    host: Json = {"host": "{bootstrap}", "protocol": "kafka", "variables": {"bootstrap": {"default": "127.0.0.1:9092"}}}
    with_registry = {"schemaRegistryVendor": "confluent", **_BINDING}
    return {
        "kafka": {**host, "description": "Without a schema registry: single-object encoding."},
        "kafka-with-registry": {**host, "description": "With a schema registry: Confluent's frame.", "bindings": {"kafka": with_registry}},
    }


def _event_headers(record: str, *, of_a_client: bool = False) -> Json:
    """CloudEvents in Kafka's binary mode. A client may leave them out; of those that it sends `ce_id` is held against the value."""
    event: Json = {
        "ce_specversion": {"const": "1.0"},
        headers.CE_ID: {
            **_UUID,
            "description": "The event_id of the value." if of_a_client else "The same for every publish of this event.",
        },
        headers.CE_TYPE: {"const": record},
        "ce_source": {"type": "string"},
        "ce_time": _TIME,
        "content-type": {"const": "application/avro"},
        "ce_subject": {"type": "string"},
        headers.TRACEPARENT: {"type": "string", "description": "W3C Trace Context."},
    }
    if of_a_client and record != COMMAND:
        event[headers.CE_DATAREF] = {
            "type": "string",
            "pattern": f"^s3://[^/]+/{REQUESTS}.+",
            "description": "CloudEvents' claim check: where the value lies that is too large for Kafka. The record's own is empty then.",
        }
    optional = ("ce_subject", headers.TRACEPARENT)
    required = [] if of_a_client else [name for name in event if name not in optional]
    return {"type": "object", "properties": event, **({"required": required} if required else {})}


def _dead_letter_headers() -> Json:
    number: Json = {"type": "string", "pattern": "^[0-9]+$"}
    own: Json = {
        headers.DLQ_REASON: {"enum": [str(reason) for reason in Reason]},
        headers.DLQ_MESSAGE: {"type": "string"},
        headers.DLQ_TOPIC: {"type": "string"},
        headers.DLQ_PARTITION: number,
        headers.DLQ_OFFSET: number,
        headers.DLQ_TIME: _TIME,
    }
    return {"type": "object", "properties": own, "required": list(own)}


if __name__ == "__main__":
    settings = load()
    json.dump(document(settings, load_routes(settings.routes_file), metadata.version("headrace")), sys.stdout, indent=2)
