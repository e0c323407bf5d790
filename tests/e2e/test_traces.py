"""One request is one trace, from its sender's span to the header of its completion."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from uuid import uuid4

from headrace.completions import completions
from headrace.producer import RequestProducer
from headrace.wire import Wire
from schemas import headers
from schemas.catalog import Catalog, shipped
from schemas.image import ImageGenerationRequested
from tests.e2e.conftest import System
from tests.support.eventually import eventually
from tests.support.otlp import Span


def parentage(spans: list[Span], name: str) -> list[tuple[str, str]]:
    """The span of a name and those above it, up to the first whose parent was not collected."""
    by_id = {span.span: span for span in spans}
    found: list[tuple[str, str]] = []
    at = next((span for span in spans if span.name == name), None)
    while at is not None:
        found.append((at.service, at.name))
        at = by_id.get(at.parent)
    return found


async def test_a_request_is_one_trace_from_its_sender_to_the_header_of_its_completion(system: System) -> None:
    trace, span, wire = uuid4().hex, "b7ad6b7169203331", Wire(Catalog(shipped()))
    request = ImageGenerationRequested(
        event_id=uuid4(), user_id="traced", requested_at=datetime.now(UTC), prompt="A traced fox", backend="local", size="64x64"
    )
    async with RequestProducer(system.settings, wire) as producer:
        await producer.send(request, traceparent=f"00-{trace}-{span}-01")
    follow = completions(system.settings, wire, ["image"], event_id=request.event_id, follow=True)
    async with asyncio.timeout(60), contextlib.aclosing(follow) as found:
        received = await anext(found)
    carried = headers.traceparent(received.headers)
    assert carried is not None
    wanted = [
        ("headrace-notifier", "RunActivity:send_completion_notification"),
        ("headrace-workers", "StartActivity:send_completion_notification"),
        ("headrace-workers", "RunWorkflow:ImageGenerationWorkflow"),
        ("headrace-ingress", "StartWorkflow:ImageGenerationWorkflow"),
        ("headrace-ingress", "process image.requests"),
    ]
    await eventually(lambda: parentage(system.traces.of(trace), wanted[0][1]) == wanted, timeout=20)
    spans = system.traces.of(trace)
    assert [each.parent for each in spans if each.name == "process image.requests"] == [span]
    assert {"RunActivity:generate_with_local", "RunActivity:save_image_to_storage"} <= {each.name for each in spans}
    # The completion's header names the span that sent it: its reader goes on below it.
    assert carried.split("-")[1:3] == [trace, next(each.span for each in spans if each.name == wanted[0][1])]
