"""The steps of one image, which all of the domain's workflows share. Recorded histories rest on their order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError
from temporalio.workflow import ActivityCancellationType

with workflow.unsafe.imports_passed_through():
    from schemas.errors import FailureType
    from schemas.image import ImageGenerationRequested, ImageGenerationResult
    from workers.image.activities import ImageActivities
    from workers.image.models import Drawing, GeneratedImage, PromptCheck

VALIDATE, SCREEN, STORE = "validate_prompt", "check_content_filter", "save_image_to_storage"

# The reference's time-outs and retries; the heartbeat is ours, so that a killed worker costs ten seconds and not two minutes.
_HEARTBEAT = timedelta(seconds=10)
_TEN_SECONDS = timedelta(seconds=10)
_BACKENDS = {
    "huggingface": (ImageActivities.generate_with_huggingface, timedelta(seconds=120), timedelta(seconds=30)),
    "openai": (ImageActivities.generate_with_openai, timedelta(seconds=60), timedelta(seconds=20)),
    "local": (ImageActivities.generate_with_local, timedelta(seconds=30), timedelta(seconds=20)),
}


async def _at_once(_: str) -> None:
    pass


async def image_of(
    request: ImageGenerationRequested,
    before: Callable[[str], Awaitable[None]] = _at_once,
    storing: ActivityCancellationType = ActivityCancellationType.TRY_CANCEL,
) -> ImageGenerationResult:
    """Validates, filters, generates, stores.

    Args:
        request: What is drawn.
        before: Awaited with each step's name before it begins; it may hold the step back, or raise.
        storing: What a cancel makes of the last step.

    Raises `ApplicationError` (INVALID_PROMPT, CONTENT_POLICY_VIOLATION) and `ActivityError`.

    """
    check = PromptCheck(prompt=request.prompt, negative_prompt=request.negative_prompt, backend=request.backend)
    await before(VALIDATE)
    await _validate(check)
    await before(SCREEN)
    await _screen(check)
    await before(f"generate_with_{request.backend}")
    image = await _generate(request)
    await before(STORE)
    return await workflow.execute_activity_method(
        ImageActivities.save_image_to_storage,
        image,
        start_to_close_timeout=timedelta(seconds=30),
        retry_policy=RetryPolicy(maximum_attempts=5, initial_interval=timedelta(seconds=2), maximum_interval=timedelta(seconds=30)),
        cancellation_type=storing,
    )


async def _validate(check: PromptCheck) -> None:
    validation = await workflow.execute_local_activity_method(
        ImageActivities.validate_prompt,
        check,
        start_to_close_timeout=_TEN_SECONDS,
        retry_policy=RetryPolicy(maximum_attempts=3, initial_interval=timedelta(seconds=1), maximum_interval=_TEN_SECONDS),
    )
    if not validation.valid:
        raise ApplicationError(f"Invalid prompt: {validation.reason}", type=FailureType.INVALID_PROMPT, non_retryable=True)


async def _screen(check: PromptCheck) -> None:
    screening = await workflow.execute_local_activity_method(
        ImageActivities.check_content_filter, check, start_to_close_timeout=_TEN_SECONDS, retry_policy=RetryPolicy(maximum_attempts=2)
    )
    if not screening.safe:
        raise ApplicationError(f"Content filter: {screening.reason}", type=FailureType.CONTENT_POLICY_VIOLATION, non_retryable=True)


async def _generate(request: ImageGenerationRequested) -> GeneratedImage:
    generate, seconds, longest_wait = _BACKENDS[request.backend]
    # A cancel is not waited for: the run goes on at once, and the next heartbeat stops the backend's HTTP call.
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
    return image


def about(request: ImageGenerationRequested, result: ImageGenerationResult | None) -> dict[str, Any]:
    """The history entry's own fields."""
    stored = result.model_dump(include={"key", "url", "size_bytes", "sha256"}) if result else {}
    return {"prompt": request.prompt, "backend": request.backend, **stored}
