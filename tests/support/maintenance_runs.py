"""History to maintain, and a maintenance worker with fakes at its ports."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client, WorkflowHandle
from temporalio.testing import ActivityEnvironment

from headrace.store.tables import DAILY_ANALYTICS, HISTORY
from schemas import names
from schemas.maintenance import MaintenanceRequested, MaintenanceResult
from schemas.request import Accepted
from tests.support import runs
from tests.support.runs import FakeNotifier
from workers.maintenance.activities import Analytics, Archive, MaintenanceActivities, TemporaryPlace
from workers.maintenance.logic import Temporary
from workers.maintenance.models import Analysed, Archived, ArchiveOrder, Cleaned

TODAY = date(2026, 11, 25)


def history_row(recorded_at: datetime, **fields: Any) -> dict[str, Any]:
    """A row of the table `history`, of a run that took four seconds after one of waiting."""
    id_ = uuid4()
    row: dict[str, Any] = {
        "history_id": id_,
        "event_id": uuid4(),
        "user_id": "ada",
        "domain": "image",
        "workflow_id": f"image-{id_}",
        "run_id": str(uuid4()),
        "status": "SUCCEEDED",
        "prompt": "a mill, naïve 🎡",
        "key": "images/1.png",
        "url": None,
        "size_bytes": 2**40,
        "sha256": "0" * 64,
        "error_code": None,
        "error_message": None,
        "recorded_at": recorded_at,
        "published_topic": "history",
        "published_partition": 1,
        "published_offset": 2,
        "backend": "local",
        "requested_at": recorded_at - timedelta(seconds=5),
        "started_at": recorded_at - timedelta(seconds=4),
    }
    return {**row, **fields}


def on(days_ago: int, hour: int = 12, **fields: Any) -> dict[str, Any]:
    """A row of that many days before `TODAY`."""
    day = TODAY - timedelta(days=days_ago)
    return history_row(datetime(day.year, day.month, day.day, hour, 30, 15, 123456, tzinfo=UTC), **fields)


async def keep(store: AsyncEngine, rows: Iterable[dict[str, Any]]) -> None:
    async with store.begin() as connection:
        await connection.execute(insert(HISTORY), list(rows))


async def left(store: AsyncEngine) -> set[UUID]:
    """IDs of the rows that are in the table."""
    async with store.connect() as connection:
        return set((await connection.execute(select(HISTORY.c.history_id))).scalars())


async def analytics(store: AsyncEngine) -> list[dict[str, Any]]:
    """The table of days, in order."""
    query = select(DAILY_ANALYTICS).order_by(DAILY_ANALYTICS.c.day, DAILY_ANALYTICS.c.domain, DAILY_ANALYTICS.c.backend)
    async with store.connect() as connection:
        return [dict(row) for row in (await connection.execute(query)).mappings()]


@dataclass
class FakePlace:
    """Lists everything that it has, also what is not below its prefix."""

    prefix: str = "tmp/"
    found: dict[str, Temporary] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    act: Callable[[], None] = lambda: None

    async def pages(self) -> AsyncIterator[Sequence[Temporary]]:
        yield list(self.found.values())

    async def remove(self, found: Sequence[Temporary]) -> None:
        self.act()
        self.removed += [each.name for each in found]


class FakeArchive:
    """Archives two archives, or does what `act` does."""

    def __init__(self, act: Callable[[], Any] = lambda: None) -> None:
        self.before: list[datetime] = []
        self._act = act
        self._unfinished: list[str] = []
        self._stored: list[str] = []
        self._chosen = 0

    async def unfinished(self) -> list[str]:
        return list(self._unfinished)

    async def choose(self, before: datetime) -> str | None:
        self.before.append(before)
        if self._chosen == 2:
            return None
        key = f"archive/history/{self._chosen}.parquet"
        self._chosen += 1
        self._unfinished.append(key)
        return key

    async def store(self, key: str, run_id: str) -> None:  # noqa: ARG002 - the port's signature
        acted = self._act()
        if acted is not None:
            await acted
        self._unfinished.remove(key)
        self._stored.append(key)

    async def done_by(self, run_id: str) -> Archived:  # noqa: ARG002 - as above
        return Archived(count=7, archives=2, size_bytes=99, keys=tuple(self._stored))


@dataclass
class FakeAnalytics:
    days: list[date] = field(default_factory=lambda: [TODAY])
    unreadable: set[date] = field(default_factory=set)

    async def changed_days(self) -> list[date]:
        return self.days

    async def recompute(self, day: date) -> bool:
        return day not in self.unreadable


def old(name: str, size: int = 5) -> Temporary:
    return Temporary(name, size, datetime(2020, 1, 1, tzinfo=UTC))


def activities(
    place: TemporaryPlace | None = None, archive: Archive | None = None, analytics: Analytics | None = None
) -> MaintenanceActivities:
    places = [place or FakePlace(found={"tmp/a": old("tmp/a")})]
    return MaintenanceActivities(places, timedelta(hours=24), archive or FakeArchive(), analytics or FakeAnalytics())


@contextlib.asynccontextmanager
async def working(client: Client, acts: MaintenanceActivities, notifier: FakeNotifier) -> AsyncIterator[None]:
    async with runs.working(client, "maintenance", acts.all(), notifier):
        yield


async def start(client: Client, *, requested: bool = True, days_old: int = 90) -> WorkflowHandle[Any, MaintenanceResult]:
    """As the ingress starts it, or as the schedule does."""
    if not requested:
        # Temporal's schedule appends the time to the ID.
        given: dict[str, Any] = {"id": f"{names.WORKFLOW_ID_MAINTENANCE}-{uuid4()}"}
    else:
        request = MaintenanceRequested(event_id=uuid4(), user_id="ops", requested_at=datetime.now(UTC), days_old=days_old)
        accepted = Accepted[MaintenanceRequested](request=request, origin=runs.origin("maintenance.requests"))
        given = {"arg": accepted, "id": f"maintenance-{request.event_id}"}
    return await client.start_workflow(names.WORKFLOW_MAINTENANCE, task_queue=names.QUEUE_SCHEDULED, result_type=MaintenanceResult, **given)


class Attempts:
    """The activities of one run, each call a new attempt with the heartbeat of the one before it."""

    def __init__(self, acts: MaintenanceActivities) -> None:
        self._acts = acts
        self.run_id = str(uuid4())
        self.heartbeat: list[Any] = []

    def _environment(self) -> ActivityEnvironment:
        environment = ActivityEnvironment()
        environment.info = dataclasses.replace(environment.info, workflow_run_id=self.run_id, heartbeat_details=self.heartbeat)
        environment.on_heartbeat = lambda *details: setattr(self, "heartbeat", list(details))
        return environment

    async def clean(self) -> Cleaned:
        result: Cleaned = await self._environment().run(self._acts.cleanup_temp_files)
        return result

    async def archive(self, days_old: int = 90) -> Archived:
        order = ArchiveOrder(days_old=days_old, today=TODAY)
        result: Archived = await self._environment().run(self._acts.archive_old_history, order)
        return result

    async def analyse(self) -> Analysed:
        result: Analysed = await self._environment().run(self._acts.update_daily_analytics)
        return result
