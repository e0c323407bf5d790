"""The call that every contender makes: what the ingress asks of Temporal for one request, without anything around it."""

from __future__ import annotations

from typing import Any

from temporalio.client import Client, WorkflowHandle
from temporalio.common import Priority, SearchAttributeKey, SearchAttributePair, TypedSearchAttributes, WorkflowIDReusePolicy

from benchmarks.ingress.records import RECORD
from schemas import names
from schemas.ids import workflow_id
from schemas.image import ImageGenerationRequested
from schemas.request import Accepted, Origin

_EVENT_ID = SearchAttributeKey.for_keyword(names.SEARCH_ATTRIBUTE_EVENT_ID)
_USER_ID = SearchAttributeKey.for_keyword(names.SEARCH_ATTRIBUTE_USER_ID)
_EVENT_TYPE = SearchAttributeKey.for_keyword(names.SEARCH_ATTRIBUTE_EVENT_TYPE)


async def start(client: Client, request: ImageGenerationRequested, origin: Origin) -> WorkflowHandle[Any, Any]:
    return await client.start_workflow(
        "ImageGenerationWorkflow",
        Accepted(request=request, origin=origin),
        id=workflow_id("image", request.event_id),
        task_queue="project-ai-image",
        id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        search_attributes=TypedSearchAttributes(
            [
                SearchAttributePair(_EVENT_ID, str(request.event_id)),
                SearchAttributePair(_USER_ID, request.user_id),
                SearchAttributePair(_EVENT_TYPE, RECORD),
            ]
        ),
        priority=Priority(priority_key=3, fairness_key=request.user_id),
    )
