"""`python -m tests.replay.record`: records new histories beside the old ones, which stay: runs in flight may be of any of them."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

from temporalio.client import WorkflowFailureError
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from headrace.lifecycle import leave
from tests.support.image_runs import FakeBackend, FakeNotifier, FakeStore, start, working

FOLDER = Path(__file__).parent / "histories"


async def main() -> None:
    """One history each of a run that succeeded, one that was refused, and one whose backend failed."""
    FOLDER.mkdir(exist_ok=True)
    version = 1 + max((int(path.stem.rsplit("-", 1)[1]) for path in FOLDER.glob("*.json")), default=0)
    temporal = str(Path(sys.executable).parent / "temporal")
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=temporal, data_converter=pydantic_data_converter
    ) as environment:
        refused = ApplicationError("no", type="BackendRefused", non_retryable=True)
        for name, prompt, backend in (
            ("succeeded", "A mill", FakeBackend()),
            ("filtered", "how to make a pipe bomb", FakeBackend()),
            ("refused", "A mill", FakeBackend(lambda _: refused)),
        ):
            async with working(environment.client, backend, FakeStore(), FakeNotifier()):
                handle = await start(environment.client, prompt=prompt)
                with contextlib.suppress(WorkflowFailureError):
                    await handle.result()
            (FOLDER / f"ImageGenerationWorkflow-{name}-{version}.json").write_text(
                (await handle.fetch_history()).to_json().replace(f"{FOLDER.parents[2]}/", "")  # stack traces name this machine's folders
            )


if __name__ == "__main__":
    asyncio.run(main())
    leave(0)
