"""The runs of each domain that are killed in every step, and what has to be true in the domain afterwards."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pyarrow.parquet as pq
from sqlalchemy import Table, select

from headrace import s3
from headrace.demo.datasets import customers
from headrace.store.tables import ANALYSES, CREDIT_ACCOUNTS, CREDIT_ENTRIES, CREDIT_ORDERS, CREDIT_STOCK, LEARNING_PATHS
from schemas import names
from schemas.analysis import DataAnalysisRequested
from schemas.completion import Status
from schemas.image import BatchImageGenerationRequested, CancellableImageGenerationRequested, ImageGenerationRequested
from schemas.learning import LearningPathRequested
from schemas.maintenance import MaintenanceRequested
from schemas.objects import HISTORY_ARCHIVE
from schemas.transaction import TransactionRequested
from tests.support.holding_proxy import CANCELLED_END, END, FAILED_END, Held, Row
from tests.support.killing import Domain, World
from tests.support.maintenance_runs import history_row, keep, left
from workers.transaction import accounts
from workers.transaction.audit import audit

Told = Mapping[Held, dict[str, Any]]

_CANCELLED = Status.CANCELLED


def _common(event_id: UUID) -> dict[str, Any]:
    return {"event_id": event_id, "user_id": "u", "requested_at": datetime.now(UTC)}


async def _rows(world: World, table: Table) -> list[dict[str, Any]]:
    async with world.database.connect() as connection:
        return [dict(row) for row in (await connection.execute(select(table))).mappings()]


def _succeeded(told: Told) -> dict[UUID, dict[str, Any]]:
    """Results by event ID."""
    return {each.event_id: completion["result"] for each, completion in told.items() if completion["status"] == "SUCCEEDED"}


def _image(event_id: UUID) -> ImageGenerationRequested:
    return ImageGenerationRequested(**_common(event_id), prompt=f"Mill {event_id}", size="64x64", backend="local")


def _cancellable(event_id: UUID) -> CancellableImageGenerationRequested:
    return CancellableImageGenerationRequested(**_image(event_id).model_dump())


def _batch(event_id: UUID) -> BatchImageGenerationRequested:
    return BatchImageGenerationRequested(**_common(event_id), prompts=[f"Lock {event_id}"], size="64x64", backend="local")


class Image(Domain):
    name = "image"
    steps = ("validate_prompt", "check_content_filter", "generate_with_local", "save_image_to_storage")
    rows = (
        Row("ImageGenerationWorkflow", names.QUEUE_IMAGE, _image, (*steps, END)),
        Row("CancellableImageGenerationWorkflow", names.QUEUE_IMAGE, _cancellable, (*steps, END)),
        Row(
            "CancellableImageGenerationWorkflow",
            names.QUEUE_IMAGE,
            _cancellable,
            ("request_cancellation", CANCELLED_END),
            signal="cancel",
            ends=_CANCELLED,
        ),
        Row("BatchImageGenerationWorkflow", names.QUEUE_IMAGE, _batch, ("ImageGenerationWorkflow", *steps, END)),
    )


def _path(event_id: UUID) -> LearningPathRequested:
    return LearningPathRequested(**_common(event_id), category="python", skill_level="beginner", time_commitment_hours=6)


class Learning(Domain):
    name = "learning"
    rows = (
        Row(
            "LearningPathWorkflow",
            names.QUEUE_LEARNING,
            _path,
            (
                "analyze_user_skill_level",
                "generate_learning_modules",
                "fetch_learning_resources",
                "create_personalized_schedule",
                "save_learning_path",
                END,
            ),
        ),
        Row(
            "LearningPathWorkflow", names.QUEUE_LEARNING, _path, (CANCELLED_END,), cancelled_in="generate_learning_modules", ends=_CANCELLED
        ),
    )

    async def wrong(self, world: World, told: Told) -> list[str]:
        """One row for each path that was told, with its version; versions without a gap."""
        rows = await _rows(world, LEARNING_PATHS)
        stored = {row["event_id"]: row["version"] for row in rows}
        wrong = [] if sorted(row["version"] for row in rows) == list(range(1, len(rows) + 1)) else [f"the versions are {stored}"]
        versions = {event_id: result["version"] for event_id, result in _succeeded(told).items()}
        return wrong if stored == versions else [*wrong, f"stored are {stored}, told were {versions}"]


_UPLOAD = "uploads/u/customers.csv"


def _analysis(event_id: UUID, bucket: str = "") -> DataAnalysisRequested:
    return DataAnalysisRequested(**_common(event_id), file_path=f"s3://{bucket}/{_UPLOAD}", file_type="csv", analysis_type="clustering")


class Analysis(Domain):
    name = "analysis"
    at_once = 1  # one process is warm, the next would import pandas anew
    first: Mapping[str, str] = {"HEADRACE_ANALYSIS_PROCESSES": "9"}  # a step that is held has its slot

    def __init__(self) -> None:
        self._bucket = ""
        steps = (
            "load_dataset",
            "validate_data",
            "perform_exploratory_analysis",
            "apply_clustering",
            "generate_visualizations",
            "save_analysis_results",
            END,
        )
        row = ("DataAnalysisWorkflow", names.QUEUE_ANALYSIS, lambda event_id: _analysis(event_id, self._bucket))
        self.rows = (Row(*row, (CANCELLED_END,), cancelled_in="validate_data", ends=_CANCELLED), Row(*row, steps))

    async def prepare(self, world: World) -> None:
        self._bucket = world.settings.s3_bucket
        data = customers(60).csv.encode()
        await asyncio.to_thread(lambda: s3.client(world.settings).put_object(Bucket=self._bucket, Key=_UPLOAD, Body=data))

    async def wrong(self, world: World, told: Told) -> list[str]:
        """One row and one report for each that was told; no file that nobody would remove."""
        rows, results = await _rows(world, ANALYSES), _succeeded(told)
        wrong = [] if {row["event_id"] for row in rows} == set(results) else [f"{len(rows)} rows of {len(results)} analyses"]
        objects = await _objects(world)
        for row in rows:
            result, report = results.get(row["event_id"], {}), objects.get(row["report_key"], b"")
            digest = hashlib.sha256(report).hexdigest()
            if not (digest == row["report_sha256"] == result.get("report_sha256")):
                wrong.append(f"{row['report_key']} is {digest}, its row says {row['report_sha256']}")
        places = {f"{place}analyses/{each.event_id}" for each in told for place in ("tmp/", "")}
        ours = [key for key in objects if key.startswith(("tmp/", "analyses/"))]
        wrong += [f"{key} is nobody's" for key in ours if key.rpartition("/")[0] not in places]
        return [*wrong, *[f"{path} is left" for path in world.folder.rglob("headrace-analysis-*")]]


async def _objects(world: World, prefix: str = "") -> dict[str, bytes]:
    def read() -> dict[str, bytes]:
        client, bucket = s3.client(world.settings), world.settings.s3_bucket
        listed = client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
        return {each["Key"]: client.get_object(Bucket=bucket, Key=each["Key"])["Body"].read() for each in listed}

    return await asyncio.to_thread(read)


_GRANTED, _STOCK, _AMOUNT = 1000, 100, 10


def _purchase(event_id: UUID) -> TransactionRequested:
    return TransactionRequested(**_common(event_id), amount=_AMOUNT, item="a course", reference=str(event_id))


def _sold_out(event_id: UUID) -> TransactionRequested:
    return _purchase(event_id).model_copy(update={"item": "a mill"})


class Transaction(Domain):
    name = "transaction"
    rows = (
        Row(
            "TransactionalWorkflow",
            names.QUEUE_TRANSACTION,
            _purchase,
            ("reserve_resources", "process_request", "commit_transaction", END),
        ),
        Row(
            "TransactionalWorkflow",
            names.QUEUE_TRANSACTION,
            _sold_out,
            ("process_request", "rollback_processing", "release_resources", FAILED_END),
            ends=Status.FAILED,
        ),
        Row(
            "TransactionalWorkflow",
            names.QUEUE_TRANSACTION,
            _purchase,
            ("rollback_transaction", "rollback_processing", "release_resources", CANCELLED_END),
            cancelled_in="commit_transaction",
            ends=_CANCELLED,
        ),
    )

    async def prepare(self, world: World) -> None:
        await accounts.grant(world.database, "u", _GRANTED, "welcome")
        await accounts.set_stock(world.database, "a course", _STOCK)
        await accounts.set_stock(world.database, "a mill", 0)

    async def wrong(self, world: World, told: Told) -> list[str]:
        """The books balance, nothing is on hold, each transaction has its effect once, and its completion says so."""
        wrong, spent = await audit(world.database), len(_succeeded(told))
        expected = {"balance": _GRANTED - spent * _AMOUNT, "held": 0}
        wrong += [f"{row}, expected {expected}" for row in await _rows(world, CREDIT_ACCOUNTS) if row != {"user_id": "u", **expected}]
        stock = {row["item"]: row["available"] for row in await _rows(world, CREDIT_STOCK)}
        wrong += [] if stock == {"a course": _STOCK - spent, "a mill": 0} else [f"the stock is {stock} after {spent} sales"]
        orders = {row["transaction_id"]: row["state"] for row in await _rows(world, CREDIT_ORDERS)}
        legs = Counter((row["transfer_id"], row["kind"]) for row in await _rows(world, CREDIT_ENTRIES))
        for each, completion in told.items():
            transaction, result = completion["workflow_id"], completion["result"]
            kinds = {kind: legs[transaction, kind] for kind in ("payment", "refund")}
            outcomes = [f"{one['compensation']} {one['outcome']}" for one in result["compensations"]]
            found = (orders.get(transaction), kinds["payment"], kinds["refund"], outcomes)
            if found != _EFFECT[completion["status"]]:
                wrong.append(f"{each}: {found}")
        return wrong


_EFFECT = {
    "SUCCEEDED": ("paid", 2, 0, []),
    "FAILED": (None, 0, 0, ["rollback_processing nothing_to_undo", "release_resources compensated"]),
    "CANCELLED": (
        "withdrawn",
        2,
        2,
        ["rollback_transaction compensated", "rollback_processing compensated", "release_resources compensated"],
    ),
}
"""By status: the order, legs of payment and refund, what the completion says of compensations."""


def _maintenance(event_id: UUID) -> MaintenanceRequested:
    return MaintenanceRequested(**_common(event_id))


class Maintenance(Domain):
    name = "maintenance"
    at_once = 1  # what lies there before a run is that run's to clear away
    rows = (
        Row(
            names.WORKFLOW_MAINTENANCE,
            names.QUEUE_SCHEDULED,
            _maintenance,
            ("cleanup_temp_files", "archive_old_history", "update_daily_analytics", END),
        ),
        Row(
            names.WORKFLOW_MAINTENANCE,
            names.QUEUE_SCHEDULED,
            _maintenance,
            ("archive_old_history", CANCELLED_END),
            cancelled_in="archive_old_history",
            ends=_CANCELLED,
        ),
    )

    def __init__(self) -> None:
        self._history: set[UUID] = set()
        self._files = 0

    async def prepare(self, world: World) -> None:
        await world.client.get_schedule_handle(names.SCHEDULE_MAINTENANCE).delete()  # it would work for our runs at two o'clock

    async def before(self, world: World, each: Held) -> None:  # noqa: ARG002 - the same for all
        """Rows of a day of the run's own, and a file."""
        then = datetime.now(UTC) - timedelta(days=100 + self._files)
        rows = [history_row(then) for _ in range(3)]
        await keep(world.database, rows)
        self._history |= {row["history_id"] for row in rows}
        file = world.folder / "tmp" / f"{self._files}"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"12345")
        os.utime(file, (then.timestamp(), then.timestamp()))
        self._files += 1

    async def wrong(self, world: World, told: Told) -> list[str]:
        """Each old row is in one archive, each old file is gone, and the completions count each of them once."""
        archived: Counter[UUID] = Counter()
        for data in (await _objects(world, HISTORY_ARCHIVE)).values():
            archived.update(UUID(each) for each in pq.read_table(io.BytesIO(data)).column("history_id").to_pylist())
        wrong = [f"{each} is in {archived[each]} archives" for each in self._history | set(archived) if archived[each] != 1]
        wrong += [f"{each} is in the table" for each in self._history & await left(world.database)]
        wrong += [f"{path} is left" for path in (world.folder / "tmp").iterdir()]
        results = _succeeded(told).values()
        if (cleaned := sum(each["files_cleaned"] for each in results)) > self._files:
            wrong.append(f"{cleaned} files were told of {self._files}")
        return [*wrong, *[f"{each}: the analytics were not updated" for each in results if not each["analytics_updated"]]]


SIDE_BY_SIDE: tuple[tuple[type[Domain], ...], ...] = ((Image, Analysis), (Learning, Transaction, Maintenance))
"""One that waits goes with one that computes. The steps that the notifier runs are not here: `tests/e2e/test_kill.py` kills that one."""
