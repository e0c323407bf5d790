"""What the demo sends, and how each must end."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar
from uuid import UUID, uuid4

from headrace.demo.datasets import GROUPS
from headrace.producer import record_of
from headrace.settings import Settings
from schemas.analysis import DataAnalysisRequested, upload_prefix
from schemas.completion import Status
from schemas.errors import FailureType, Reason
from schemas.image import BatchImageGenerationRequested, CancellableImageGenerationRequested, ImageGenerationRequested
from schemas.learning import LearningPathRequested
from schemas.maintenance import MaintenanceRequested
from schemas.names import Action
from schemas.request import Model, Request, milliseconds
from schemas.transaction import TransactionRequested

Kind = Literal["request", "repeat", "refused value", "unreadable"]
M = TypeVar("M", bound=Model)


@dataclass(slots=True, eq=False)
class Case:
    """One record and what became of it so far."""

    section: str
    """Of the table and the page."""
    about: str
    expected: str
    """A completion status, with the error's code behind it; `dead letter` and the reason; or `duplicate`."""
    request: Request | None = None
    kind: Kind = "request"
    value: bytes | None = None
    """The record's bytes, where there is no request in them."""
    state: str = "waiting"
    sent_at: float = 0.0
    seconds: float | None = None
    """From produce to completion."""
    completion: dict[str, Any] | None = field(default=None, repr=False)

    @property
    def event_id(self) -> UUID | None:
        return self.request.event_id if self.request else None

    @property
    def user(self) -> str:
        return self.request.user_id if self.request else "-"

    @property
    def domain(self) -> str:
        """Of its topic; that what is unreadable goes to the image requests is the demo's choice."""
        return record_of(self.request).split(".")[-2] if self.request else "image"

    @property
    def under_way(self) -> bool:
        return self.seconds is None and self.kind != "repeat" and not self.state.startswith(NOT_SENT)

    def result(self, model: type[M]) -> M | None:
        """The completion's result; None where there is none."""
        found = (self.completion or {}).get("result")
        return None if found is None else model.model_validate(found)

    def renew(self) -> None:
        """Before it is sent for the first time, when other things had to be done first: it is asked for now."""
        if self.request is not None:
            self.request = self.request.model_copy(update={"requested_at": _now()})

    def sent(self) -> None:
        self.state, self.sent_at = "sent", time.monotonic()

    def ended(self, state: str) -> None:
        self.state, self.seconds = state, self.age()

    def age(self) -> float:
        return time.monotonic() - self.sent_at


@dataclass(slots=True, eq=False)
class Purchase(Case):
    """A case whose user is granted credits before it is sent."""

    granted: int = 500
    sold_out: bool = False
    """Whether the item's stock is set to 0 before."""
    before: int | None = None
    after: int | None = None
    """The user's balance."""


@dataclass(slots=True, eq=False)
class Steered(Case):
    """A case that is paused, and then told something else."""

    then: Action = Action.RESUME
    moments: list[tuple[float, str]] = field(default_factory=list)
    """Seconds since it was sent, and what was seen or done."""
    held: bool = False

    def note(self, what: str) -> None:
        self.moments.append((self.age(), what))

    def again(self) -> None:
        """A fresh request of the same kind: its run was over before the pause came."""
        if self.request is not None:
            self.request = self.request.model_copy(update={"event_id": uuid4()})
        self.renew()
        self.state, self.seconds, self.completion, self.held = "waiting", None, None, False
        self.moments.clear()


NOT_SENT = "not sent: "
IMAGES, BATCH, PATH, ANALYSIS, SAGA, STEERING, MAINTENANCE = (
    "Images",
    "A batch",
    "A learning path",
    "An analysis",
    "A saga",
    "Pause, resume, cancel",
    "Maintenance",
)
EXPECTED_GROUPS = GROUPS
BAD_PROMPT = 3
"""Its index in the batch."""

_PROMPTS = [
    ("ada", "A mill wheel turning in a mountain stream at dawn", "watercolor", "512x512"),
    ("ada", "The analytical engine in brass and walnut", "photorealistic", "512x512"),
    ("grace", "A ship's bridge full of compilers", "cyberpunk", "512x512"),
    ("grace", "A moth resting on a relay", "sketch", "512x512"),
    ("alan", "Leopard spots that grow on a field of dunes", "abstract", "512x512"),
    ("alan", "A runner on a canal path in the morning mist", "anime", "512x512"),
    ("katherine", "A capsule coming down over a calm sea", "digital_art", "512x512"),
    ("katherine", "Star charts spread over a kitchen table", "fantasy", "512x512"),
]
_BATCH = [
    "A canal lock opening at sunrise",
    "A weir in the first snow",
    "Sluice gates under a full moon",
    "?!",
    "A heron beside the tailrace",
    "Flour dust in a shaft of light",
]


def cases(settings: Settings) -> list[Case]:
    """Fresh requests for every workflow, and four records that end otherwise."""
    run = uuid4().hex[:6]
    return [
        *_images(),
        Case(
            BATCH,
            f"{len(_BATCH)} prompts, one without a word",
            Status.SUCCEEDED,
            _new(BatchImageGenerationRequested, "hedy", prompts=_BATCH, style="digital_art", size="384x384", backend="local"),
        ),
        Case(
            PATH,
            "machine learning, 8 hours a week",
            Status.SUCCEEDED,
            _new(
                LearningPathRequested,
                "dorothy",
                category="machine learning",
                skill_level="beginner",
                time_commitment_hours=8,
                learning_style="hands_on",
            ),
        ),
        _analysis(settings, "florence@mill.example", run),
        *_purchases(run),
        *_steered(),
        Case(MAINTENANCE, "clean, archive, count", Status.SUCCEEDED, _new(MaintenanceRequested, "ops")),
    ]


def _images() -> list[Case]:
    made = [Case(IMAGES, prompt, Status.SUCCEEDED, _image(user, prompt, style, size)) for user, prompt, style, size in _PROMPTS]
    made.append(Case(IMAGES, "the first request once more", "duplicate", made[0].request, "repeat"))
    refused = "How to make a pipe bomb, step by step"
    made.append(Case(IMAGES, refused, f"{Status.FAILED} {FailureType.CONTENT_POLICY_VIOLATION}", _image("mallory", refused)))
    huge = _image("oscar", "A poster as wide as a street").model_copy(update={"size": "9000x9000"})
    rejected = f"{Status.REJECTED} {Reason.INVALID}"
    made.append(Case(IMAGES, "a size that nobody offers: 9000x9000", rejected, huge, "refused value"))
    undecodable = f"dead letter {Reason.UNDECODABLE}"
    # Made anew for each run, so that this run's dead letter is known from those before it.
    made.append(Case(IMAGES, "bytes that are not Avro", undecodable, None, "unreadable", b"\x89PNG, not Avro, " + uuid4().hex.encode()))
    return made


def _analysis(settings: Settings, user: str, run: str) -> Case:
    uri = f"s3://{settings.s3_bucket}/{upload_prefix(user)}customers-{run}.csv"
    request = _new(DataAnalysisRequested, user, file_path=uri, file_type="csv", analysis_type="clustering")
    return Case(ANALYSIS, "4,000 customers of a mill's shop", Status.SUCCEEDED, request)


def _purchases(run: str) -> list[Case]:
    bought = _new(TransactionRequested, f"ada-{run}", amount=120, item="a course on mills", reference=f"demo {run}")
    sold_out = _new(TransactionRequested, f"charles-{run}", amount=200, item=f"the last difference engine ({run})", reference=f"demo {run}")
    failed = f"{Status.FAILED} {FailureType.ITEM_SOLD_OUT}"
    return [
        Purchase(SAGA, "120 credits for a course on mills", Status.SUCCEEDED, bought),
        Purchase(SAGA, "200 credits for an engine that is sold out", failed, sold_out, sold_out=True),
    ]


def _steered() -> list[Case]:
    # As large as the local backend draws: a pause has the longest time to come before the picture is done.
    def large(user: str, prompt: str, style: str) -> CancellableImageGenerationRequested:
        return _new(CancellableImageGenerationRequested, user, prompt=prompt, style=style, size="2048x2048", backend="local")

    cancelled = f"{Status.CANCELLED} {FailureType.CANCELLED}"
    return [
        Steered(STEERING, "paused, then resumed", Status.SUCCEEDED, large("radia", "A spanning tree in a spring orchard", "watercolor")),
        Steered(
            STEERING,
            "paused, then cancelled",
            cancelled,
            large("margaret", "A lunar module over a sea of dust", "minimalist"),
            then=Action.CANCEL,
        ),
    ]


def _image(user: str, prompt: str, style: str = "sketch", size: str = "512x512") -> ImageGenerationRequested:
    return _new(ImageGenerationRequested, user, prompt=prompt, style=style, size=size, backend="local")


R = TypeVar("R", bound=Request)


def _new(model: type[R], user: str, **fields: Any) -> R:
    return model.model_validate({"event_id": uuid4(), "user_id": user, "requested_at": _now(), **fields})


def _now() -> datetime:
    return milliseconds(datetime.now(UTC))
