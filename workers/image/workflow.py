"""One image for one request."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from schemas.errors import FailureType
    from schemas.image import ImageGenerationRequested, ImageGenerationResult
    from schemas.request import Accepted
    from workers.completion import concluded
    from workers.image.activities import ImageActivities
    from workers.image.models import Drawing, GeneratedImage, PromptCheck

_COMPLETED = "headrace.image.ImageGenerationCompleted"

# The reference's time-outs and retries; the heartbeat is ours, so that a killed worker costs ten seconds and not two minutes.
_HEARTBEAT = timedelta(seconds=10)
_BACKENDS = {
    "huggingface": (ImageActivities.generate_with_huggingface, timedelta(seconds=120), timedelta(seconds=30)),
    "openai": (ImageActivities.generate_with_openai, timedelta(seconds=60), timedelta(seconds=20)),
    "local": (ImageActivities.generate_with_local, timedelta(seconds=30), timedelta(seconds=20)),
}


@workflow.defn(name="ImageGenerationWorkflow")
class ImageGenerationWorkflow:
    """Validates, filters, generates, stores; then tells, whatever happened."""

    @workflow.run
    async def run(self, accepted: Accepted[ImageGenerationRequested]) -> ImageGenerationResult:
        request = accepted.request
        return await concluded(accepted, _COMPLETED, self._generate(request), history=lambda result: _about(request, result))

    async def _generate(self, request: ImageGenerationRequested) -> ImageGenerationResult:
        check = PromptCheck(prompt=request.prompt, negative_prompt=request.negative_prompt, backend=request.backend)
        ten_seconds = timedelta(seconds=10)
        validation = await workflow.execute_local_activity_method(
            ImageActivities.validate_prompt,
            check,
            start_to_close_timeout=ten_seconds,
            retry_policy=RetryPolicy(maximum_attempts=3, initial_interval=timedelta(seconds=1), maximum_interval=ten_seconds),
        )
        if not validation.valid:
            raise ApplicationError(f"Invalid prompt: {validation.reason}", type=FailureType.INVALID_PROMPT, non_retryable=True)
        screening = await workflow.execute_local_activity_method(
            ImageActivities.check_content_filter, check, start_to_close_timeout=ten_seconds, retry_policy=RetryPolicy(maximum_attempts=2)
        )
        if not screening.safe:
            raise ApplicationError(f"Content filter: {screening.reason}", type=FailureType.CONTENT_POLICY_VIOLATION, non_retryable=True)
        generate, seconds, longest_wait = _BACKENDS[request.backend]
        image: GeneratedImage = await workflow.execute_activity_method(
            generate,
            Drawing(prompt=request.prompt, negative_prompt=request.negative_prompt, style=request.style, size=request.size),
            start_to_close_timeout=seconds,
            heartbeat_timeout=_HEARTBEAT,
            retry_policy=RetryPolicy(
                maximum_attempts=3,
                initial_interval=timedelta(seconds=5),
                maximum_interval=longest_wait,
                non_retryable_error_types=[FailureType.CONTENT_POLICY_VIOLATION],
            ),
        )
        return await workflow.execute_activity_method(
            ImageActivities.save_image_to_storage,
            image,
            start_to_close_timeout=timedelta(seconds=30),
            retry_policy=RetryPolicy(maximum_attempts=5, initial_interval=timedelta(seconds=2), maximum_interval=timedelta(seconds=30)),
        )


def _about(request: ImageGenerationRequested, result: ImageGenerationResult | None) -> dict[str, Any]:
    stored = result.model_dump(include={"key", "url", "size_bytes", "sha256"}) if result else {}
    return {"prompt": request.prompt, **stored}
