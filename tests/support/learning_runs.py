"""A learning worker with fakes at its ports."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID, uuid4

from temporalio.client import Client, WorkflowHandle

from schemas import names
from schemas.learning import LearningPathRequested, LearningPathResult, LearningResource
from schemas.request import Accepted
from tests.support import runs
from tests.support.runs import FakeNotifier
from workers.learning.activities import Generator, LearningActivities, Paths, Resources
from workers.learning.curriculum import Curriculum, load
from workers.learning.logic import key
from workers.learning.models import EarlierPath, ResourceQuery, SavedPath, SavePath, Syllabus, SyllabusBrief
from workers.learning.shipped import CatalogueResources, CurriculumGenerator

CURRICULUM: Curriculum = load()


@dataclass
class FakePaths:
    """Paths in a list; fails the given number of times before it saves."""

    saved: list[SavePath] = field(default_factory=list)
    fails: Callable[[int], Exception | None] = lambda _: None
    saves: int = 0

    async def earlier(self, user_id: str, category: str, *, but: UUID) -> list[EarlierPath]:
        mine = [one for one in self._of(user_id, category) if one.event_id != but]
        return [
            EarlierPath.model_validate(
                {"version": number, "level": one.path.level, "created_at": one.at, "duration_days": one.path.estimated_duration_days}
            )
            for number, one in enumerate(mine, 1)
        ]

    async def save(self, path: SavePath) -> SavedPath:
        self.saves += 1
        if (error := self.fails(self.saves)) is not None:
            raise error
        if path.event_id not in {one.event_id for one in self.saved}:
            self.saved.append(path)
        elif path.generation > 1:
            self.saved = [path if one.event_id == path.event_id else one for one in self.saved]
        mine = self._of(path.user_id, path.path.category)
        version = next(number for number, one in enumerate(mine, 1) if one.event_id == path.event_id)
        return SavedPath(path_id=path.path.path_id, version=version)

    def _of(self, user_id: str, category: str) -> list[SavePath]:
        return [one for one in self.saved if (one.user_id, key(one.path.category)) == (user_id, key(category))]


@dataclass
class FakeGenerator:
    """Gives what `act` gives for the number of the call, or raises it."""

    act: Callable[[int], Syllabus | Exception]
    calls: int = 0

    async def generate(self, brief: SyllabusBrief) -> Syllabus:  # noqa: ARG002 - the port's signature
        self.calls += 1
        answer = self.act(self.calls)
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass
class FakeResources:
    """Gives what `act` gives for a topic, or raises it; counts the most that were asked at one time."""

    act: Callable[[str], list[LearningResource] | Exception]
    asked: list[str] = field(default_factory=list)

    async def find(self, query: ResourceQuery) -> list[LearningResource]:
        self.asked.append(query.topic)
        answer = self.act(query.topic)
        if isinstance(answer, Exception):
            raise answer
        return answer


def resource(name: str, kind: str = "article") -> LearningResource:
    return LearningResource(title=name, url=f"https://example.org/{name}", provider="Example", kind=kind)


@contextlib.asynccontextmanager
async def working(
    client: Client,
    notifier: FakeNotifier,
    *,
    paths: Paths | None = None,
    generator: Generator | None = None,
    resources: Resources | None = None,
) -> AsyncIterator[None]:
    """With the shipped curriculum where a test hands in nothing else."""
    acts = LearningActivities(
        paths or FakePaths(),
        generator or CurriculumGenerator(CURRICULUM),
        resources or CatalogueResources(CURRICULUM),
        CURRICULUM.name_of,
    )
    async with runs.working(client, "learning", acts.all(), notifier):
        yield


async def start(client: Client, generation: int = 1, **changed: object) -> WorkflowHandle[object, LearningPathResult]:
    fields = {"event_id": uuid4(), "user_id": "u", "requested_at": datetime.now(UTC), "category": "python", "skill_level": "beginner"}
    request = LearningPathRequested.model_validate({**fields, "time_commitment_hours": 6, **changed})
    return await client.start_workflow(
        "LearningPathWorkflow",
        Accepted(request=request, origin=runs.origin("learning.requests"), generation=generation),
        id=f"learning-{request.event_id}",
        task_queue=names.QUEUE_LEARNING,
        result_type=LearningPathResult,
    )
