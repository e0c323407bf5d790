"""The rights in the database that the security page names are enough for every service, and are no more than it says."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import make_url

from headrace import kafka, rights, s3, setup, temporal
from headrace.cli import redrive, rerun
from headrace.cli.dead_letters import Filters
from headrace.completions import completions
from headrace.producer import RequestProducer
from headrace.settings import Settings
from headrace.store.engine import engine
from headrace.wire import Wire
from ingress.__main__ import main as ingress
from notifier.__main__ import main as notifier
from schemas import names
from schemas.analysis import DataAnalysisRequested, upload_prefix
from schemas.catalog import Catalog, shipped
from schemas.image import ImageGenerationRequested
from schemas.learning import LearningPathRequested
from schemas.maintenance import MaintenanceRequested
from schemas.reconcile import Reconcile
from schemas.request import Request
from schemas.transaction import TransactionRequested
from tests.support.eventually import eventually
from tests.support.ingress import fields, framed
from tests.support.postgres import create_database
from tests.support.temporal_namespace import in_namespace_of_its_own
from workers.__main__ import serve as workers
from workers.transaction.accounts import grant

PAGE = (Path(__file__).parents[2] / "docs" / "security.md").read_text("utf-8")
[GRANTS] = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
ROLES = ("headrace_ingress", "headrace_notifier", "headrace_workers")


async def granted(owner: Settings) -> dict[str, Settings]:
    """By role, which may do what the page grants it, in the owner's database."""
    made = {role: f"{role}_{uuid4().hex[:12]}" for role in ROLES}
    database = engine(owner.database_url)
    async with database.begin() as connection:
        for role in made.values():
            await connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN")
        for statement in GRANTS.split(";"):
            if statement.strip():
                await connection.exec_driver_sql(re.sub("|".join(ROLES), lambda role: made[role[0]], statement))
    await database.dispose()
    url = make_url(owner.database_url)
    return {
        role: owner.model_copy(update={"database_url": url.set(username=name).render_as_string(hide_password=False)})
        for role, name in made.items()
    }


@contextlib.asynccontextmanager
async def running(roles: dict[str, Settings]) -> AsyncIterator[None]:
    stop = asyncio.Event()
    tasks = [asyncio.create_task(main(roles[role], stop)) for role, main in zip(ROLES, (ingress, notifier, workers), strict=True)]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*tasks)


def requests(bucket: str) -> list[Request]:
    """One of each domain, and one that fails."""

    def common() -> dict[str, Any]:
        return {"event_id": uuid4(), "user_id": "ada", "requested_at": datetime.now(UTC)}

    image = {"backend": "local", "size": "128x128"}
    return [
        ImageGenerationRequested(**common(), **image, prompt="how to make a pipe bomb"),
        ImageGenerationRequested(**common(), **image, prompt="A mill"),
        LearningPathRequested(**common(), category="statistics", skill_level="beginner", time_commitment_hours=8),
        DataAnalysisRequested(
            **common(), file_path=f"s3://{bucket}/{upload_prefix('ada')}a.csv", file_type="csv", analysis_type="clustering"
        ),
        TransactionRequested(**common(), amount=10, item="a course", reference="r"),
        MaintenanceRequested(**common()),
    ]


@pytest.mark.timeout(240)
async def test_the_rights_on_the_page_are_enough_for_every_service_and_no_more(settings: Settings, postgres_server: Path) -> None:
    url = await create_database(postgres_server, f"g{uuid4().hex[:12]}")
    owner = await in_namespace_of_its_own(settings.model_copy(update={"database_url": url, "routes_file": None, "ledger_days": 30.0}))
    await setup.run(owner, lambda _: None)
    roles = await granted(owner)
    await _prepare(owner)
    asked = requests(owner.s3_bucket)
    wire = Wire(Catalog(shipped()))
    async with running(roles):
        async with RequestProducer(owner, wire) as producer:
            for each in asked:
                await producer.send(each)
        async with kafka.producer(owner, idempotent=False) as plain:
            await plain.send_and_wait(f"{owner.topic_prefix}image.requests", framed(fields(prompt="")))
        done = await eventually(lambda: _told(owner, wire, asked), timeout=150, interval=0.5)
        assert done is not None
        assert done[asked[0].event_id] == "FAILED"
        assert {done[each.event_id] for each in asked[1:]} == {"SUCCEEDED"}
        client = await temporal.connect(owner)
        await client.execute_workflow(names.RECONCILE, Reconcile(), id=uuid4().hex, task_queue=names.QUEUE_NOTIFICATIONS)
        everything = redrive.Asked(Filters(None, None, None, None, None, None), every=True, parked=False, rate=None, max_redrives=3)
        await redrive.run(owner, everything, dry_run=False, follow=True, as_json=True)
        await rerun.run(owner, rerun.Wanted(None, None, None, None, None, True, None), dry_run=False, follow=True, as_json=True)
    for role, others in {"headrace_ingress": "completions", "headrace_notifier": "learning_paths", "headrace_workers": "ledger"}.items():
        database = engine(roles[role].database_url)
        assert any(lacks.endswith(f" on {others}") for lacks in await rights.database_refuses(database)), role
        await database.dispose()


async def _prepare(owner: Settings) -> None:
    client = s3.client(owner)
    rows = "".join(f"{number % 7},{number % 3 * 10 + number % 5}\n" for number in range(60))
    client.put_object(Bucket=owner.s3_bucket, Key=f"{upload_prefix('ada')}a.csv", Body=f"a,b\n{rows}".encode())
    client.close()
    database = engine(owner.database_url)
    await grant(database, "ada", 100, reference="test")
    await database.dispose()


async def _told(owner: Settings, wire: Wire, asked: list[Request]) -> dict[UUID, str] | None:
    found = {}
    domains = ["image", "learning", "analysis", "transaction", "maintenance"]
    async with contextlib.aclosing(completions(owner, wire, domains)) as told:
        async for each in told:
            found[each.completion["event_id"]] = str(each.completion["status"])
    return found if len(found) > len(asked) and {each.event_id for each in asked} <= found.keys() else None
