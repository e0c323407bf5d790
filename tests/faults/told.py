"""`python -m tests.faults.told QUEUE`: a worker of a workflow that costs next to nothing, and tells how it ended like every other."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from schemas.image import ImageGenerationRequested, ImageGenerationResult
    from schemas.request import Accepted
    from workers.completion import concluded

NAME = "Told"
_RESULT = ImageGenerationResult(
    key="k",
    url="http://s3/k",
    content_type="image/png",
    size_bytes=1,
    sha256="0" * 64,
    width=1,
    height=1,
    backend="local",
    model="none",
    generation_seconds=0.0,
)


@workflow.defn(name=NAME)
class Told:
    """Waits for as many seconds as its prompt says."""

    @workflow.run
    async def run(self, accepted: Accepted[ImageGenerationRequested]) -> ImageGenerationResult:
        return await concluded(accepted, "headrace.image.ImageGenerationCompleted", self._work(float(accepted.request.prompt.split()[1])))

    async def _work(self, seconds: float) -> ImageGenerationResult:
        if seconds:
            await workflow.sleep(timedelta(seconds=seconds))
        return _RESULT


def main() -> None:
    """Runs until it is killed."""
    import contextlib

    from headrace import temporal
    from headrace.lifecycle import run_service
    from headrace.settings import Settings
    from workers.__main__ import build_workers
    from workers.domain import Activities, Domain

    @contextlib.asynccontextmanager
    async def none(_: Settings):  # type: ignore[no-untyped-def]  # noqa: ANN202 - an async generator
        activities: Activities = []
        yield activities

    domain = Domain({sys.argv[1]: [Told]}, none)

    async def run(settings: Settings, stop: asyncio.Event) -> None:
        [worker] = build_workers(await temporal.connect(settings), domain, [])
        async with worker:
            await stop.wait()

    run_service("told", run)


if __name__ == "__main__":
    main()
