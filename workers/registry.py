"""Which queue runs which workflows and activities. A list in a package's `__init__.py` would be imported by the sandbox."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from headrace import s3
from headrace.settings import Settings
from schemas import names
from workers.image.activities import ImageActivities
from workers.image.backends import openai
from workers.image.backends.huggingface import HuggingFaceBackend
from workers.image.backends.local import LocalBackend
from workers.image.logic import load_filter
from workers.image.storage import S3Images
from workers.image.workflow import ImageGenerationWorkflow

Activities = Sequence[Callable[..., Any]]


@dataclass(frozen=True, slots=True)
class Domain:
    """What one domain's worker runs; `activities` opens the clients that they need."""

    queue: str
    workflows: Sequence[type]
    activities: Callable[[Settings], AbstractAsyncContextManager[Activities]]


@contextlib.asynccontextmanager
async def _image(settings: Settings) -> AsyncIterator[Activities]:
    content_filter = load_filter(settings.content_filter_file)
    storage, client = s3.client(settings), openai.client(settings)
    try:
        acts = ImageActivities(
            {
                "huggingface": HuggingFaceBackend(settings),
                "openai": openai.OpenAIBackend(client, settings.openai_image_model),
                "local": LocalBackend(),
            },
            S3Images(storage, settings.s3_bucket, settings.s3_url_seconds),
            content_filter,
            openai.OpenAIModeration(client) if client else None,
        )
        yield [
            acts.validate_prompt,
            acts.check_content_filter,
            acts.generate_with_huggingface,
            acts.generate_with_openai,
            acts.generate_with_local,
            acts.save_image_to_storage,
        ]
    finally:
        storage.close()
        if client is not None:
            await client.close()


DOMAINS: dict[str, Domain] = {"image": Domain(names.QUEUE_IMAGE, [ImageGenerationWorkflow], _image)}
