"""A Temporal namespace of a test's own: what a namespace has (search attributes, task queues) is not shared with other tests then."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import uuid4

from google.protobuf.duration_pb2 import Duration
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest

from headrace import temporal
from headrace.settings import Settings
from tests.support.eventually import eventually


async def in_namespace_of_its_own(settings: Settings) -> Settings:
    """The settings with a new namespace."""
    name = f"t{uuid4().hex[:12]}"
    client = await temporal.connect(settings)
    retention = Duration(seconds=24 * 3600)
    await client.workflow_service.register_namespace(
        RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=retention)
    )
    found = settings.model_copy(update={"temporal_namespace": name})
    inside = await temporal.connect(found)

    async def answers() -> bool:
        return (await inside.count_workflows()).count == 0

    check: Callable[[], bool | Awaitable[bool]] = answers
    await eventually(check)
    return found
