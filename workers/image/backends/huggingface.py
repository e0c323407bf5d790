"""HuggingFace's inference API through `huggingface_hub`."""

from __future__ import annotations

import asyncio
import io

import httpx
from huggingface_hub import AsyncInferenceClient
from huggingface_hub.errors import HfHubHTTPError, InferenceTimeoutError

from headrace.settings import Settings
from schemas.image import parse_size
from workers.image.activities import Picture
from workers.image.backends.pictures import not_configured, read_picture, sort_answer, unavailable
from workers.image.logic import styled
from workers.image.models import Drawing

_SETTING = "HF_TOKEN"
_SECONDS = 110.0
"""Less than the activity's 120: our own error says more than its time-out."""


class HuggingFaceBackend:
    """Without a token every request fails, and says so."""

    def __init__(self, settings: Settings, *, seconds: float = _SECONDS) -> None:
        self._token = settings.huggingface_token.get_secret_value() if settings.huggingface_token else None
        self._base_url = settings.huggingface_base_url
        self._model = settings.huggingface_image_model
        self._seconds = seconds

    async def generate(self, drawing: Drawing) -> Picture:
        if self._token is None:
            raise not_configured("huggingface", _SETTING)
        width, height = parse_size(drawing.size)
        address = {"base_url": self._base_url} if self._base_url else {"model": self._model}
        try:
            async with AsyncInferenceClient(token=self._token, timeout=self._seconds, **address) as client:  # type: ignore[arg-type]
                image = await client.text_to_image(
                    styled(drawing.prompt, drawing.style),
                    negative_prompt=drawing.negative_prompt or None,
                    width=width,
                    height=height,
                    **({"model": self._model} if not self._base_url else {}),
                )
        except InferenceTimeoutError as error:
            raise unavailable(f"huggingface did not answer within {self._seconds:g} s") from error
        except HfHubHTTPError as error:
            raise sort_answer("huggingface", _SETTING, error.response.status_code, error.response.headers, error.response.text) from error
        except httpx.TimeoutException as error:
            raise unavailable(f"huggingface did not answer within {self._seconds:g} s") from error
        except httpx.TransportError as error:
            raise unavailable(f"huggingface is not reached: {error!r}") from error
        except (OSError, ValueError, SyntaxError) as error:  # Pillow's, on an answer that is no image
            raise unavailable(f"the answer of huggingface is no image: {str(error)[:200]}") from error

        def encode() -> Picture:
            encoded = io.BytesIO()
            image.save(encoded, "PNG")
            return read_picture(encoded.getvalue(), self._model)

        try:
            return await asyncio.to_thread(encode)
        except (OSError, SyntaxError) as error:
            raise unavailable(f"the answer of huggingface is no whole image: {str(error)[:200]}") from error
