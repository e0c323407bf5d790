"""The image domain's records."""

import json
import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from schemas.completion import Completion
from schemas.request import Model, Request

Style = Literal[
    "photorealistic", "digital_art", "oil_painting", "watercolor", "anime", "sketch", "abstract", "cyberpunk", "fantasy", "minimalist"
]
Backend = Literal["huggingface", "openai", "local"]


def _without_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("the text has a NUL character, which databases refuse")
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("the prompt is blank: say what the picture shows")
    return text


Prompt = Annotated[str, StringConstraints(min_length=1, max_length=4000), AfterValidator(_without_nul), AfterValidator(_not_blank)]

OPENAI_SIZES = ("1024x1024", "1536x1024", "1024x1536")
_MIN_SIDE, _MAX_SIDE = 64, 2048


def parse_size(size: str) -> tuple[int, int]:
    """Width and height in pixels of `WIDTHxHEIGHT`. Raises `ValueError`."""
    match = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", size, re.ASCII)
    if match is None:
        raise ValueError(f"size {size[:40]!r} is not WIDTHxHEIGHT in pixels, for example 1024x1024")
    return int(match[1]), int(match[2])


def check_size(backend: Backend, size: str) -> None:
    """Raises `ValueError` that says which sizes the backend offers."""
    width, height = parse_size(size)
    if backend == "openai":
        if size not in OPENAI_SIZES:
            raise ValueError(f"backend openai does not offer {size}: it offers {', '.join(OPENAI_SIZES)}")
        return
    step = 8 if backend == "huggingface" else 1
    if not all(_MIN_SIDE <= side <= _MAX_SIDE and side % step == 0 for side in (width, height)):
        multiple = f" in multiples of {step}" if step > 1 else ""
        raise ValueError(f"backend {backend} does not offer {size}: it offers sides of {_MIN_SIDE} to {_MAX_SIDE} pixels{multiple}")


class _Picture(Request):
    style: Style = "photorealistic"
    size: str = "1024x1024"
    backend: Backend = "huggingface"

    @model_validator(mode="after")
    def _size_is_offered(self) -> Self:
        check_size(self.backend, self.size)
        return self


class ImageGenerationRequested(_Picture):
    prompt: Prompt
    negative_prompt: Annotated[str, StringConstraints(max_length=4000), AfterValidator(_without_nul)] = ""


class CancellableImageGenerationRequested(ImageGenerationRequested):
    """The same fields; another workflow."""


MAX_BATCH = 500
MAX_BATCH_BYTES = 1_000_000
"""Of a batch's prompts as JSON: half of what Temporal takes as one argument, so that there is room for results beside what is left."""


class BatchImageGenerationRequested(_Picture):
    """Its prompts are any texts: one that is no `Prompt` fails alone, by its index, and not the batch."""

    prompts: Annotated[list[str], Field(min_length=1, max_length=MAX_BATCH)]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        size = len(json.dumps(self.prompts, ensure_ascii=False).encode("utf-8", "replace"))
        if size > MAX_BATCH_BYTES:
            raise ValueError(f"the prompts have {size} bytes together, and a batch takes {MAX_BATCH_BYTES}: send several batches")
        return self


class ImageGenerationResult(Model):
    """Where the image lies and what it is."""

    key: str
    url: str
    content_type: str
    size_bytes: int
    sha256: str
    width: int
    height: int
    backend: str
    model: str
    generation_seconds: float


class PromptError(Model):
    """Why a prompt of a batch gave no image."""

    index: int
    code: str
    message: str


class BatchImageGenerationResult(Model):
    """One entry for each prompt, in their order; null where one failed, and its error says why."""

    images: list[ImageGenerationResult | None]
    errors: list[PromptError] = Field(default_factory=list)


ImageGenerationCompleted = Completion[ImageGenerationResult]
BatchImageGenerationCompleted = Completion[BatchImageGenerationResult]
