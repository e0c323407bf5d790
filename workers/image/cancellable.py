"""One image whose run can be paused, resumed and cancelled."""

from __future__ import annotations

import asyncio

from temporalio import workflow
from temporalio.exceptions import CancelledError
from temporalio.workflow import ActivityCancellationType

with workflow.unsafe.imports_passed_through():
    from schemas import names
    from schemas.image import CancellableImageGenerationRequested, ImageGenerationResult
    from schemas.request import Accepted
    from workers.completion import concluded
    from workers.control import Controlled
    from workers.image.models import ImageStatus
    from workers.image.steps import VALIDATE, about, image_of

_COMPLETED = "headrace.image.CancellableImageGenerationCompleted"


@workflow.defn(name="CancellableImageGenerationWorkflow")
class CancellableImageGenerationWorkflow(Controlled):
    """The steps of `ImageGenerationWorkflow`. A pause holds before the next of them, a cancel takes effect at once."""

    def __init__(self) -> None:
        self._step = VALIDATE
        self._reached: list[str] = []
        self._stored: ImageGenerationResult | None = None

    @workflow.query
    def get_status(self) -> ImageStatus:
        return ImageStatus(cancelled=self.cancelled, paused=self.paused, step=self._step)

    @workflow.run
    async def run(self, accepted: Accepted[CancellableImageGenerationRequested]) -> ImageGenerationResult:
        request = accepted.request
        return await concluded(
            accepted,
            _COMPLETED,
            self._controlled(request),
            partial=lambda: self._stored,
            history=lambda result: about(request, result),
        )

    async def _controlled(self, request: CancellableImageGenerationRequested) -> ImageGenerationResult:
        try:
            return await self.under_control(self._work(request))
        except asyncio.CancelledError:
            done = self._reached if self._stored else self._reached[:-1]
            raise CancelledError(f"the run was cancelled; done until then: {', '.join(done) or 'nothing'}") from None
        finally:
            self._step = names.SEND_COMPLETION

    async def _work(self, request: CancellableImageGenerationRequested) -> ImageGenerationResult:
        # A picture that is being stored is waited for, a moment: the completion can then say where it lies.
        self._stored = await image_of(request, self._before, ActivityCancellationType.WAIT_CANCELLATION_COMPLETED)
        return self._stored

    async def _before(self, step: str) -> None:
        self._step = step
        self._reached.append(step)
        await self.may_go_on()
