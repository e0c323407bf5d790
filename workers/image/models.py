"""What the image activities take and give. New fields get defaults: runs in flight hold the old ones."""

from pydantic import AwareDatetime

from schemas.command import SeenCommands
from schemas.image import Backend, BatchImageGenerationRequested, ImageGenerationResult, PromptError, Style
from schemas.request import Accepted, Model


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


class ImageStatus(Model):
    """Answer of the query `get_status`."""

    cancelled: bool
    paused: bool
    step: str
    """The activity that runs, or that a pause holds back."""


class BatchProgress(Model):
    """Answer of the query `get_progress`, in prompts. Those in none of the three others wait."""

    total: int
    done: int
    failed: int
    in_flight: int


class BatchSoFar(Model):
    """What one run of a batch hands over to the next."""

    started_at: AwareDatetime
    images: list[ImageGenerationResult | None]
    """Of the prompts that are no longer in the request, in their order."""
    errors: list[PromptError]
    paused: bool = False
    commands: SeenCommands = ()


class AcceptedBatch(Accepted[BatchImageGenerationRequested]):
    """What the ingress gives; a run that is not the first has the rest of the prompts and what became of those before them.

    One argument: the SDK decodes by type only as many as a workflow declares.
    """

    so_far: BatchSoFar | None = None
