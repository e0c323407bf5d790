"""`kill -9` of a worker in every step of every workflow: each run ends right, with one completion."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from headrace.settings import Settings
from schemas import names
from schemas.completion import Status
from schemas.image import BatchImageGenerationRequested, CancellableImageGenerationRequested, ImageGenerationRequested
from tests.support.killing import CANCELLED_END, END, Row, kill_in_every_step


def _common(event_id: UUID) -> dict[str, Any]:
    return {"event_id": event_id, "user_id": "u", "requested_at": datetime.now(UTC)}


def _image(event_id: UUID) -> ImageGenerationRequested:
    return ImageGenerationRequested(**_common(event_id), prompt=f"Mill {event_id}", size="64x64", backend="local")


def _cancellable(event_id: UUID) -> CancellableImageGenerationRequested:
    return CancellableImageGenerationRequested(**_image(event_id).model_dump())


def _batch(event_id: UUID) -> BatchImageGenerationRequested:
    return BatchImageGenerationRequested(**_common(event_id), prompts=[f"Lock {event_id}"], size="64x64", backend="local")


_IMAGE_STEPS = ("validate_prompt", "check_content_filter", "generate_with_local", "save_image_to_storage")

ROWS: dict[str, list[Row]] = {
    "image": [
        Row("ImageGenerationWorkflow", names.QUEUE_IMAGE, _image, (*_IMAGE_STEPS, END)),
        Row("CancellableImageGenerationWorkflow", names.QUEUE_IMAGE, _cancellable, (*_IMAGE_STEPS, END)),
        Row(
            "CancellableImageGenerationWorkflow",
            names.QUEUE_IMAGE,
            _cancellable,
            ("request_cancellation", CANCELLED_END),
            signal="cancel",
            ends=Status.CANCELLED,
        ),
        Row("BatchImageGenerationWorkflow", names.QUEUE_IMAGE, _batch, ("ImageGenerationWorkflow", *_IMAGE_STEPS, END)),
    ],
}
"""By domain. The steps that the notifier runs are not here: `tests/e2e/test_kill.py` kills that one."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("domain", ROWS)
async def test_a_worker_that_is_killed_in_a_step_costs_no_run_its_end(settings: Settings, tmp_path: Path, domain: str) -> None:
    wrong = await kill_in_every_step(settings, tmp_path, domain, ROWS[domain])
    assert wrong == {}
