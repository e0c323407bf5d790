"""One image for one request."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError, FailureError

with workflow.unsafe.imports_passed_through():
    from schemas.completion import Completion, CompletionError, History, SendCompletion, Status, UpdateHistory
    from schemas.errors import FailureType
    from schemas.ids import completion_id, history_id
    from schemas.image import ImageGenerationRequested, ImageGenerationResult
    from schemas.request import Accepted
    from workers.completion import announce, sort_failure
    from workers.image.activities import ImageActivities
    from workers.image.models import Drawing, GeneratedImage, PromptCheck

_DOMAIN = "image"
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
        try:
            result = await self._generate(accepted.request)
        except BaseException as error:
            # A fault of this code fails the workflow task, which is tried again: only what the steps answer is an outcome.
            if not isinstance(error, FailureError) and not _is_cancellation(error):
                raise
            status, reason = sort_failure(error)
            await self._tell(accepted, status, None, reason)
            if status is Status.CANCELLED:
                raise
            raise ApplicationError(reason.message, type=reason.code, non_retryable=True) from error
        await self._tell(accepted, Status.SUCCEEDED, result, None)
        return result

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

    async def _tell(
        self,
        accepted: Accepted[ImageGenerationRequested],
        status: Status,
        result: ImageGenerationResult | None,
        error: CompletionError | None,
    ) -> None:
        request, origin, info, now = accepted.request, accepted.origin, workflow.info(), workflow.now()
        completion = Completion[ImageGenerationResult](
            completion_id=completion_id(request.event_id),
            event_id=request.event_id,
            user_id=request.user_id,
            workflow_id=info.workflow_id,
            run_id=info.run_id,
            status=status,
            result=result,
            error=error,
            requested_at=request.requested_at,
            started_at=info.start_time,
            completed_at=now,
        )
        stored = result.model_dump(include={"key", "url", "size_bytes", "sha256"}) if result else {}
        history = History(
            history_id=history_id(request.event_id),
            domain=_DOMAIN,
            prompt=request.prompt,
            recorded_at=now,
            **completion.model_dump(include={"event_id", "user_id", "workflow_id", "run_id", "status", "error"}),
            **stored,
        )
        carried = {"key": origin.key, "traceparent": origin.traceparent}
        sending = SendCompletion(domain=_DOMAIN, record=_COMPLETED, completion=completion.model_dump(mode="json"), **carried)
        await announce(sending, UpdateHistory(entry=history, **carried))


def _is_cancellation(error: BaseException) -> bool:
    return sort_failure(error)[0] is Status.CANCELLED
