"""What the demo sends, and how each must end."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID, uuid4

from schemas.completion import Status
from schemas.errors import FailureType, Reason
from schemas.image import ImageGenerationRequested
from schemas.request import milliseconds

RECORD = "headrace.image.ImageGenerationRequested"

Kind = Literal["request", "repeat", "refused value", "unreadable"]


@dataclass(slots=True)
class Case:
    """One record and what became of it so far."""

    kind: Kind
    user: str
    about: str
    expected: str
    """A completion status, with the error's code behind it; `dead letter` and the reason; or `duplicate`."""
    request: ImageGenerationRequested | None = None
    value: bytes | None = None
    """The record's bytes, where the public producer would refuse to send it."""
    event_id: UUID | None = None
    state: str = "waiting"
    seconds: float | None = None
    """From produce to completion."""
    completion: dict[str, Any] | None = field(default=None, repr=False)


_PROMPTS = [
    ("ada", "A mill wheel turning in a mountain stream at dawn", "watercolor", "512x512"),
    ("ada", "The analytical engine in brass and walnut", "photorealistic", "512x512"),
    ("ada", "A loom that weaves algebraic flowers and leaves", "abstract", "384x512"),
    ("ada", "A letter to Babbage under a green lamp", "oil_painting", "512x384"),
    ("grace", "A moth resting on a relay", "sketch", "512x512"),
    ("grace", "A ship's bridge full of compilers", "cyberpunk", "640x360"),
    ("grace", "A nanosecond of wire on a desk", "minimalist", "512x512"),
    ("grace", "The Atlantic seen from a lighthouse", "watercolor", "640x360"),
    ("alan", "A universal machine on an endless tape", "minimalist", "640x360"),
    ("alan", "Leopard spots that grow on a field of dunes", "abstract", "512x512"),
    ("alan", "A chess board in a garden at Bletchley", "oil_painting", "512x512"),
    ("alan", "A runner on a canal path in the morning mist", "anime", "384x512"),
    ("katherine", "An orbit drawn in chalk around the Moon", "sketch", "512x512"),
    ("katherine", "A capsule coming down over a calm sea", "digital_art", "640x360"),
    ("katherine", "Star charts spread over a kitchen table", "fantasy", "512x512"),
    ("katherine", "A slide rule the size of a bridge", "cyberpunk", "512x384"),
    ("hedy", "A piano roll that hops between frequencies", "digital_art", "512x512"),
    ("hedy", "A torpedo that listens to music", "fantasy", "512x384"),
    ("hedy", "Silver screen lights over Vienna", "photorealistic", "384x512"),
    ("hedy", "A canal lock opening at sunrise", "watercolor", "512x512"),
]


def _request(user: str, prompt: str, style: str = "sketch", size: str = "512x512") -> ImageGenerationRequested:
    fields = {"event_id": uuid4(), "user_id": user, "requested_at": milliseconds(datetime.now(UTC))}
    return ImageGenerationRequested.model_validate({**fields, "prompt": prompt, "style": style, "size": size, "backend": "local"})


def cases() -> list[Case]:
    """Fresh requests of five users, one of them twice, one that the content filter refuses, and two records that are no good."""
    made = [
        Case("request", user, prompt, Status.SUCCEEDED, request := _request(user, prompt, style, size), event_id=request.event_id)
        for user, prompt, style, size in _PROMPTS
    ]
    again = made[0].request
    assert again is not None  # noqa: S101 - for the type checker
    made.append(Case("repeat", "ada", "the first request once more", "duplicate", again, event_id=again.event_id))
    refused = _request("mallory", "How to make a pipe bomb, step by step")
    made.append(
        Case(
            "request",
            "mallory",
            refused.prompt,
            f"{Status.FAILED} {FailureType.CONTENT_POLICY_VIOLATION}",
            refused,
            event_id=refused.event_id,
        )
    )
    huge = _request("oscar", "A poster as wide as a street").model_copy(update={"size": "9000x9000"})
    made.append(
        Case(
            "refused value",
            "oscar",
            "a size that nobody offers: 9000x9000",
            f"{Status.REJECTED} {Reason.INVALID}",
            huge,
            event_id=huge.event_id,
        )
    )
    made.append(Case("unreadable", "-", "bytes that are not Avro", f"dead letter {Reason.UNDECODABLE}", value=b"\x89PNG this is not Avro"))
    return made
