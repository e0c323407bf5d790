"""One image for each prompt, side by side."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from pydantic import ValidationError
from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, CancelledError, FailureError

with workflow.unsafe.imports_passed_through():
    from schemas import names
    from schemas.errors import FailureType, bounded
    from schemas.ids import batch_child_id, batch_item_id
    from schemas.image import (
        BatchImageGenerationRequested,
        BatchImageGenerationResult,
        ImageGenerationRequested,
        ImageGenerationResult,
        PromptError,
    )
    from schemas.request import Accepted
    from workers.completion import concluded, sort_failure
    from workers.control import Controlled
    from workers.image.models import AcceptedBatch, BatchProgress, BatchSoFar
    from workers.image.workflow import ImageGenerationWorkflow

_COMPLETED = "headrace.image.BatchImageGenerationCompleted"

IN_FLIGHT = 20
PAGE = 100
"""Children of one run; then it continues as new, so that no history grows beyond five hundred events."""
CHILD_TIMEOUT = timedelta(minutes=5)
_MESSAGE = 300
"""Characters of a prompt's error: 500 of them must fit beside each other."""


@workflow.defn(name="BatchImageGenerationWorkflow")
class BatchImageGenerationWorkflow(Controlled):
    """Children that publish nothing, and one completion. A pause holds before the next child, a cancel reaches those that run."""

    @workflow.init
    def __init__(self, accepted: AcceptedBatch) -> None:
        so_far = accepted.so_far
        self._offset = len(so_far.images) if so_far else 0
        self._images = [*(so_far.images if so_far else []), *[None for _ in accepted.request.prompts]]
        self._errors = {error.index: error for error in so_far.errors} if so_far else {}
        self._since = so_far.started_at if so_far else workflow.info().start_time
        self._children: list[asyncio.Task[None]] = []
        if so_far:
            self.paused = so_far.paused
            self.take_over(so_far.commands)

    @workflow.query
    def get_progress(self) -> BatchProgress:
        done = sum(image is not None for image in self._images)
        return BatchProgress(total=len(self._images), done=done, failed=len(self._errors), in_flight=self._in_flight())

    @workflow.run
    async def run(self, accepted: AcceptedBatch) -> BatchImageGenerationResult:
        about = {"backend": accepted.request.backend}
        return await concluded(accepted, _COMPLETED, self._work(accepted), partial=self._result, history=lambda _: about, since=self._since)

    async def _work(self, accepted: AcceptedBatch) -> BatchImageGenerationResult:
        try:
            await self.under_control(self._page(accepted.request, accepted.generation))
        except asyncio.CancelledError:
            done = sum(image is not None for image in self._images)
            raise CancelledError(f"the run was cancelled; done until then: {done} of {len(self._images)} images") from None
        if left := accepted.request.prompts[PAGE:]:
            self._continue(accepted, left)
        if not any(self._images):
            raise ApplicationError(
                f"none of the {len(self._images)} prompts gave an image: the result's errors say why",
                type=FailureType.NO_IMAGE,
                non_retryable=True,
            )
        return self._result()

    async def _page(self, request: BatchImageGenerationRequested, generation: int) -> None:
        try:
            for index, prompt in enumerate(request.prompts[:PAGE], self._offset):
                await workflow.wait_condition(lambda: not self.paused and self._in_flight() < IN_FLIGHT)
                self._children.append(asyncio.create_task(self._one(request, generation, index, prompt)))
            await workflow.wait_condition(lambda: self._in_flight() == 0)
        except asyncio.CancelledError:
            for child in self._children:
                child.cancel()
            await workflow.wait_condition(lambda: self._in_flight() == 0)
            raise
        for child in self._children:
            child.result()  # a fault of this code fails the workflow task

    async def _one(self, request: BatchImageGenerationRequested, generation: int, index: int, prompt: str) -> None:
        fields = request.model_dump(exclude={"event_id", "prompts"})
        try:
            item = ImageGenerationRequested(event_id=batch_item_id(request.event_id, index), prompt=prompt, **fields)
            self._images[index] = await self._child(item, batch_child_id(workflow.info().workflow_id, index, generation))
        except ValidationError as error:
            # The rules are the schema's: the same for every replay of a run that began under them.
            said = error.errors(include_input=False, include_url=False)[0]["msg"].removeprefix("Value error, ")
            self._fail(index, FailureType.INVALID_PROMPT, f"Invalid prompt: {said}")
        except (FailureError, asyncio.CancelledError) as error:
            reason = sort_failure(error)[1]
            self._fail(index, reason.code, reason.message)

    async def _child(self, request: ImageGenerationRequested, child_id: str) -> ImageGenerationResult:
        # Priority and fairness are the batch's own: Temporal hands them on.
        return await workflow.execute_child_workflow(
            ImageGenerationWorkflow.run,
            Accepted[ImageGenerationRequested](request=request, origin=None),
            id=child_id,
            task_queue=names.QUEUE_HIGH_PRIORITY,
            execution_timeout=CHILD_TIMEOUT,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        )

    def _continue(self, accepted: AcceptedBatch, left: list[str]) -> None:
        request = accepted.request.model_copy(update={"prompts": left})
        so_far = BatchSoFar(
            started_at=self._since,
            images=self._images[: -len(left)],
            errors=list(self._errors.values()),
            paused=self.paused,
            commands=self.commands,
        )
        workflow.continue_as_new(accepted.model_copy(update={"request": request, "so_far": so_far}))

    def _in_flight(self) -> int:
        return sum(not child.done() for child in self._children)

    def _fail(self, index: int, code: str, message: str) -> None:
        self._errors[index] = PromptError(index=index, code=code, message=bounded(message, _MESSAGE))

    def _result(self) -> BatchImageGenerationResult:
        """Every prompt has its image or its error; one that was not begun was cancelled."""
        for index, image in enumerate(self._images):
            if image is None and index not in self._errors:
                self._fail(index, FailureType.CANCELLED, "the batch was cancelled before this prompt")
        return BatchImageGenerationResult(images=self._images, errors=[self._errors[index] for index in sorted(self._errors)])
