"""OpenTelemetry traces: from the request's `traceparent` through ingress, workflow and activities to that of its completion.

On when OpenTelemetry's own `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is set (OTLP over HTTP); its other
variables (`OTEL_TRACES_SAMPLER`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_SDK_DISABLED`, ...) apply too. Off, no SDK is imported, and the
request's own `traceparent` is handed on unchanged.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from aiokafka import ConsumerRecord

from schemas import headers

if TYPE_CHECKING:
    from temporalio.client import Plugin

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_FLUSH_MILLISECONDS = 3000


def wanted() -> bool:
    """Whether the environment says where traces go."""
    return any(os.environ.get(name) for name in _ENDPOINTS) and os.environ.get("OTEL_SDK_DISABLED", "").lower() != "true"


def configure(service: str) -> None:
    """Sets up this process's tracing, once, before its clients are made; does nothing when it is not wanted."""
    if not wanted():
        return
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from temporalio.contrib.opentelemetry import create_tracer_provider

    provider = create_tracer_provider(resource=Resource.create({"service.name": f"headrace-{service}"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


def flush() -> None:
    """Sends what is left, for at most three seconds: `os._exit` would drop it."""
    if wanted():
        from opentelemetry import trace
        from temporalio.contrib.opentelemetry import ReplaySafeTracerProvider

        provider = trace.get_tracer_provider()
        if isinstance(provider, ReplaySafeTracerProvider):
            provider.force_flush(_FLUSH_MILLISECONDS)


def plugins() -> list[Plugin]:
    """For a Temporal client and the workers that share it: starts, workflows and activities become spans."""
    if not wanted():
        return []
    from temporalio.contrib.opentelemetry import OpenTelemetryPlugin

    return [OpenTelemetryPlugin(add_temporal_spans=True)]


def consuming(record: ConsumerRecord) -> AbstractContextManager[None]:
    """A span around what is done for a record, below the trace that its `traceparent` names.

    Names and attributes are those of OpenTelemetry's semantic conventions for Kafka (messaging spans, `process`).
    """
    return _consuming(record) if wanted() else contextlib.nullcontext()


@contextlib.contextmanager
def _consuming(record: ConsumerRecord) -> Iterator[None]:
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    parent = headers.traceparent(record.headers)
    carrier: Mapping[str, str] = {} if parent is None else {headers.TRACEPARENT: parent}
    attributes: dict[str, str | int] = {
        "messaging.system": "kafka",
        "messaging.operation.type": "process",
        "messaging.destination.name": record.topic,
        "messaging.destination.partition.id": str(record.partition),
        "messaging.kafka.offset": record.offset,
    }
    with trace.get_tracer(__name__).start_as_current_span(
        f"process {record.topic}",
        context=TraceContextTextMapPropagator().extract(carrier),
        kind=trace.SpanKind.CONSUMER,
        attributes=attributes,
    ):
        yield


def traceparent() -> str | None:
    """That of the current span, whoever has begun it, for what is sent from here; None without one."""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get(headers.TRACEPARENT)
