"""The image activities. Light to import: backends, storage and moderation are handed in by the composition root."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from temporalio import activity
from temporalio.exceptions import ApplicationError

from schemas.errors import FailureType
from schemas.image import Backend, ImageGenerationResult
from workers.control import request_cancellation
from workers.heartbeat import heartbeat
from workers.image.logic import ContentFilter, object_key, validate
from workers.image.models import Drawing, GeneratedImage, PromptCheck, Screening, Validation


@dataclass(frozen=True, slots=True)
class Picture:
    """What a backend drew."""

    data: bytes
    content_type: str
    width: int
    height: int
    model: str


@dataclass(frozen=True, slots=True)
class StoredObject:
    size_bytes: int
    sha256: str | None


class ImageBackend(Protocol):
    """Draws. Raises `ApplicationError` with a `FailureType`."""

    async def generate(self, drawing: Drawing) -> Picture: ...


class ImageStore(Protocol):
    """Where pictures lie. Each raises `ApplicationError(STORAGE_UNAVAILABLE)`."""

    async def put(self, key: str, data: bytes, content_type: str, sha256: str) -> None: ...

    async def head(self, key: str) -> StoredObject | None: ...

    async def url(self, key: str) -> str: ...


class Moderation(Protocol):
    """A second opinion on a prompt."""

    async def screen(self, prompt: str) -> Screening: ...


class ImageActivities:
    def __init__(
        self, backends: Mapping[Backend, ImageBackend], store: ImageStore, content_filter: ContentFilter, moderation: Moderation | None
    ) -> None:
        self._backends = backends
        self._store = store
        self._filter = content_filter
        self._moderation = moderation

    def all(self) -> Sequence[Callable[..., Any]]:
        """What a worker registers."""
        return [
            self.validate_prompt,
            self.check_content_filter,
            self.generate_with_huggingface,
            self.generate_with_openai,
            self.generate_with_local,
            self.save_image_to_storage,
            request_cancellation,
        ]

    @activity.defn(name="validate_prompt")
    async def validate_prompt(self, check: PromptCheck) -> Validation:
        return validate(check)

    @activity.defn(name="check_content_filter")
    async def check_content_filter(self, check: PromptCheck) -> Screening:
        """The shipped list first; then, where an OpenAI key is set, OpenAI's moderation."""
        screening = self._filter.screen(check.prompt)
        if screening.safe and self._moderation is not None:
            return await self._moderation.screen(check.prompt)
        return screening

    @activity.defn(name="generate_with_huggingface")
    async def generate_with_huggingface(self, drawing: Drawing) -> GeneratedImage:
        return await self._generate("huggingface", drawing)

    @activity.defn(name="generate_with_openai")
    async def generate_with_openai(self, drawing: Drawing) -> GeneratedImage:
        return await self._generate("openai", drawing)

    @activity.defn(name="generate_with_local")
    async def generate_with_local(self, drawing: Drawing) -> GeneratedImage:
        return await self._generate("local", drawing)

    @activity.defn(name="save_image_to_storage")
    async def save_image_to_storage(self, image: GeneratedImage) -> ImageGenerationResult:
        """Makes sure that the object is the one that was generated, and gives its presigned URL."""
        stored = await self._store.head(image.key)
        if stored is None:
            raise ApplicationError(f"the object {image.key} is gone", type=FailureType.IMAGE_LOST, non_retryable=True)
        if (stored.size_bytes, stored.sha256) != (image.size_bytes, image.sha256):
            raise ApplicationError(f"the object {image.key} is not the generated one", type=FailureType.IMAGE_LOST, non_retryable=True)
        return ImageGenerationResult(**image.model_dump(), url=await self._store.url(image.key))

    async def _generate(self, backend: Backend, drawing: Drawing) -> GeneratedImage:
        async with heartbeat():
            began = time.monotonic()
            picture = await self._backends[backend].generate(drawing)
            took = time.monotonic() - began
            sha256 = hashlib.sha256(picture.data).hexdigest()
            key = object_key(sha256, picture.content_type)
            await self._store.put(key, picture.data, picture.content_type, sha256)
        return GeneratedImage(
            key=key,
            sha256=sha256,
            size_bytes=len(picture.data),
            content_type=picture.content_type,
            width=picture.width,
            height=picture.height,
            backend=backend,
            model=picture.model,
            generation_seconds=round(took, 3),
        )
