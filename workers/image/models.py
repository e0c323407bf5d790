"""What the image activities take and give. New fields get defaults: runs in flight hold the old ones."""

from schemas.image import Backend, Style
from schemas.request import Model


class PromptCheck(Model):
    prompt: str
    negative_prompt: str = ""
    backend: Backend


class Validation(Model):
    valid: bool
    reason: str | None = None


class Screening(Model):
    """The content filter's answer."""

    safe: bool
    reason: str | None = None


class Drawing(Model):
    """What a backend is asked for."""

    prompt: str
    negative_prompt: str = ""
    style: Style
    size: str


class GeneratedImage(Model):
    """A picture in the bucket; its bytes never travel through Temporal."""

    key: str
    sha256: str
    size_bytes: int
    content_type: str
    width: int
    height: int
    backend: Backend
    model: str
    generation_seconds: float
