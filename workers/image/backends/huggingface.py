"""HuggingFace's inference API through `huggingface_hub`."""

from __future__ import annotations

import asyncio
import io

import httpx2
from huggingface_hub import AsyncInferenceClient
from huggingface_hub.errors import HfHubHTTPError, InferenceTimeoutError
from huggingface_hub.inference._providers import get_provider_helper
from PIL import Image
from temporalio.exceptions import ApplicationError

from headrace.settings import Settings
from schemas.errors import FailureType, bounded
from schemas.image import parse_size
from workers.answers import not_configured, sort_answer, unavailable
from workers.image.activities import Picture
from workers.image.backends.pictures import read_picture
from workers.image.logic import styled
from workers.image.models import Drawing

_SETTING = "HF_TOKEN"
_SECONDS = 110.0
"""Less than the activity's 120: our own error says more than its time-out."""
_TASK = "text-to-image"


class HuggingFaceBackend:
    """Without a token every request fails, and says so."""

    def __init__(self, settings: Settings, *, seconds: float = _SECONDS) -> None:
        self._token = settings.huggingface_token.get_secret_value() if settings.huggingface_token else None
        self._address = settings.huggingface_base_url or settings.huggingface_image_model
        self._model = settings.huggingface_image_model
        self._seconds = seconds

    async def generate(self, drawing: Drawing) -> Picture:
        if self._token is None:
            raise not_configured("huggingface", _SETTING)
        try:
            # The client's own time-out is for each read, and its look-up has none: a body that dribbles in would outlast the activity.
            async with asyncio.timeout(self._seconds):
                await asyncio.to_thread(self._look_up, self._token)
                image = await self._ask(drawing, self._token)
        except (TimeoutError, InferenceTimeoutError, httpx2.TimeoutException) as error:
            raise unavailable(f"huggingface did not answer within {self._seconds:g} s") from error
        except HfHubHTTPError as error:
            answer = error.response
            raise sort_answer(
                "huggingface", _SETTING, answer.status_code, answer.headers, answer.text, {"authorization": self._token}
            ) from None
        except httpx2.HTTPError as error:
            raise unavailable(f"huggingface is not reached: {type(error).__name__}") from None
        except (OSError, ValueError, SyntaxError) as error:  # Pillow's, on an answer that is no image
            raise unavailable(f"the answer of huggingface is no image: {bounded(str(error), 200)}") from error
        return await asyncio.to_thread(self._encode, image)

    def _look_up(self, token: str) -> None:
        """Asks the Hub which provider serves the model, in a thread: the client itself would ask synchronously on the event loop.

        A slow Hub would stop every heartbeat of the worker with it. The library keeps the answers, so its own call finds them.
        """
        try:
            helper = get_provider_helper(None, _TASK, self._address)
            helper.prepare_request(inputs="", parameters={}, headers={}, model=self._address, api_key=token)
        except ValueError as error:
            said = f"huggingface offers no {_TASK} with {self._model}: {bounded(str(error), 200)}. Check HEADRACE_HUGGINGFACE_IMAGE_MODEL"
            raise ApplicationError(said, type=FailureType.BACKEND_REFUSED, non_retryable=True) from error

    async def _ask(self, drawing: Drawing, token: str) -> Image.Image:
        width, height = parse_size(drawing.size)
        async with AsyncInferenceClient(token=token, timeout=self._seconds) as client:
            image: Image.Image = await client.text_to_image(
                styled(drawing.prompt, drawing.style),
                negative_prompt=drawing.negative_prompt or None,
                width=width,
                height=height,
                model=self._address,
            )
            return image

    def _encode(self, image: Image.Image) -> Picture:
        encoded = io.BytesIO()
        try:
            image.save(encoded, "PNG")
        except (OSError, SyntaxError) as error:
            raise unavailable(f"the answer of huggingface is no whole image: {bounded(str(error), 200)}") from error
        return read_picture(encoded.getvalue(), self._model)
