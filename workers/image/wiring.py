"""The image activities with the clients that they need."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from headrace import s3
from headrace.settings import Settings
from workers import openai_client
from workers.domain import Activities
from workers.image.activities import ImageActivities
from workers.image.backends import openai
from workers.image.backends.huggingface import HuggingFaceBackend
from workers.image.backends.local import LocalBackend
from workers.image.logic import load_filter
from workers.image.storage import S3Images


@contextlib.asynccontextmanager
async def activities(settings: Settings) -> AsyncIterator[Activities]:
    content_filter = load_filter(settings.content_filter_file)
    storage, client = s3.client(settings), openai_client.client(settings)
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
        yield acts.all()
    finally:
        storage.close()
        if client is not None:
            await client.close()
