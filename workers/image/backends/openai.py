"""OpenAI's image and moderation APIs through `openai`."""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import Any

import openai
from openai.types import ImagesResponse, ModerationCreateResponse

from workers.answers import not_configured, unavailable
from workers.image.activities import Picture
from workers.image.backends.pictures import read_picture
from workers.image.logic import styled
from workers.image.models import Drawing, Screening
from workers.openai_client import SECONDS, SETTING, answered

_MODERATION_SECONDS = 8.0
_MODERATION_MODEL = "omni-moderation-latest"


class OpenAIBackend:
    """Without a key every request fails, and says so."""

    def __init__(self, made: openai.AsyncOpenAI | None, model: str, *, seconds: float = SECONDS) -> None:
        self._client = made
        self._model = model
        self._seconds = seconds

    async def generate(self, drawing: Drawing) -> Picture:
        if self._client is None:
            raise not_configured("openai", SETTING)
        answer = await answered(
            self._client.images.generate(
                model=self._model, prompt=styled(drawing.prompt, drawing.style), n=1, size=drawing.size, **_quality(self._model, drawing)
            ),
            self._seconds,
        )
        # A body of another content type comes back as text, whatever the annotation says.
        if not isinstance(answer, ImagesResponse) or not answer.data or not (encoded := answer.data[0].b64_json):
            raise unavailable("the answer of openai has no image")
        try:
            data = base64.b64decode(encoded, validate=True)
        except binascii.Error as error:
            raise unavailable(f"the image of openai is not base64: {error}") from error
        return await asyncio.to_thread(read_picture, data, self._model)


class OpenAIModeration:
    """Asks the moderation endpoint; its failures are the activity's to retry."""

    def __init__(self, made: openai.AsyncOpenAI) -> None:
        self._client = made

    async def screen(self, prompt: str) -> Screening:
        answer = await answered(self._client.moderations.create(model=_MODERATION_MODEL, input=prompt), _MODERATION_SECONDS)
        if not isinstance(answer, ModerationCreateResponse) or not answer.results:  # as above
            raise unavailable("the answer of OpenAI's moderation cannot be read")
        flagged = [name for result in answer.results if result.flagged for name, hit in result.categories.model_dump().items() if hit]
        if any(result.flagged for result in answer.results):
            return Screening(safe=False, reason=f"OpenAI's moderation: {', '.join(sorted(flagged)) or 'flagged'}")
        return Screening(safe=True)


def _quality(model: str, drawing: Drawing) -> dict[str, Any]:
    detailed = drawing.style == "photorealistic"
    if model.startswith("dall-e"):
        return {"quality": "hd" if detailed else "standard", "response_format": "b64_json"}
    return {"quality": "high" if detailed else "medium"}
