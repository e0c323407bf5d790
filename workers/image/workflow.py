"""One image for one request."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from schemas.image import ImageGenerationRequested, ImageGenerationResult
    from schemas.request import Accepted
    from workers.completion import concluded
    from workers.image.steps import about, image_of

_COMPLETED = "headrace.image.ImageGenerationCompleted"


@workflow.defn(name="ImageGenerationWorkflow")
class ImageGenerationWorkflow:
    """Validates, filters, generates, stores; then tells, whatever happened."""

    @workflow.run
    async def run(self, accepted: Accepted[ImageGenerationRequested]) -> ImageGenerationResult:
        request = accepted.request
        return await concluded(accepted, _COMPLETED, image_of(request), history=lambda result: about(request, result))
