"""Maintenance without a server: what is temporary, what is old, how a day is counted, what an archive keeps."""

from __future__ import annotations

import dataclasses
import io
import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow.parquet import write_table
from pydantic import ValidationError

from headrace.schedules import SCHEDULES
from headrace.store.tables import DAILY_ANALYTICS, HISTORY
from schemas import names
from schemas.maintenance import MaintenanceRequested
from schemas.objects import HISTORY_ARCHIVE, TEMPORARY
from schemas.routes import load_routes
from tests.support.maintenance_runs import TODAY, on
from tests.support.records import TIMES
from workers.maintenance import parquet
from workers.maintenance.logic import (
    Observation,
    Tally,
    Temporary,
    archive_key,
    archived_before,
    midnight,
    nearest_ranks,
    observation,
    removable,
)
from workers.registry import DOMAINS

BEFORE = datetime(2026, 11, 25, tzinfo=UTC)
KEYS = st.one_of(st.text(), st.sampled_from(["tmp", "tmp/", "tmpfoo/x", "images/a.png", "xtmp/a", "//tmp/a", HISTORY_ARCHIVE, "TMP/a"]))


@given(st.lists(st.tuples(st.one_of(KEYS, KEYS.map(lambda key: f"tmp/{key}")), TIMES)))
def test_nothing_but_old_things_below_the_prefix_is_ever_removed(listed: list[tuple[str, datetime]]) -> None:
    found = [Temporary(name, 1, moment) for name, moment in listed]
    removed = removable(found, TEMPORARY, BEFORE)
    assert all(each.name.startswith("tmp/") and each.name != "tmp/" and each.modified_at < BEFORE for each in removed)
    assert [
        each for each in found if each not in removed and len(each.name) > 4 and each.name[:4] == "tmp/" and each.modified_at < BEFORE
    ] == []


def test_archives_are_not_below_the_prefix_of_temporary_things() -> None:
    assert not HISTORY_ARCHIVE.startswith(TEMPORARY)


@pytest.mark.parametrize("days_old", [0, -1, 36501, 2**31 - 1])
def test_a_request_with_an_absurd_age_is_refused(days_old: int) -> None:
    with pytest.raises(ValidationError):
        MaintenanceRequested(event_id=uuid4(), user_id="ops", requested_at=BEFORE, days_old=days_old)


@pytest.mark.parametrize("days_old", [1, 36500])
def test_the_bounds_themselves_are_taken_and_give_a_moment(days_old: int) -> None:
    request = MaintenanceRequested(event_id=uuid4(), user_id="ops", requested_at=BEFORE, days_old=days_old)
    assert archived_before(TODAY, request.days_old) == midnight(TODAY) - timedelta(days=days_old)


@given(st.lists(st.uuids(), min_size=1, unique=True), st.randoms())
def test_the_same_rows_are_the_same_object_in_whatever_order(ids: list[UUID], chance: random.Random) -> None:
    shuffled = list(ids)
    chance.shuffle(shuffled)
    key = archive_key(TODAY, ids)
    assert key == archive_key(TODAY, shuffled)
    assert key.startswith("archive/history/day=2026-11-25/")
    assert archive_key(TODAY, [*ids, uuid4()]) != key


@given(st.lists(st.floats(0, 1e9)), st.integers(1, 100))
def test_a_percentile_is_the_smallest_value_that_covers_its_share(values: list[float], percent: int) -> None:
    [found] = nearest_ranks(values, [percent])
    if found is None:
        assert values == []
        return
    assert found in values
    assert sum(value <= found for value in values) * 100 >= percent * len(values)
    assert sum(value < found for value in values) * 100 < percent * len(values)


OBSERVATIONS = st.builds(
    Observation,
    domain=st.sampled_from(["image", "learning"]),
    backend=st.sampled_from(["", "local"]),
    status=st.sampled_from(["SUCCEEDED", "FAILED", "TERMINATED"]),
    error_code=st.sampled_from([None, "Internal", "TimedOut"]),
    run_seconds=st.none() | st.floats(0, 1e6),
    answer_seconds=st.none() | st.floats(0, 1e6),
)


@given(st.lists(OBSERVATIONS), st.integers(0, 20), st.randoms())
def test_a_day_counts_the_same_in_whatever_order_and_pages_its_rows_come(
    observations: list[Observation], page: int, chance: random.Random
) -> None:
    whole, paged = Tally(), Tally()
    whole.add(observations)
    shuffled = list(observations)
    chance.shuffle(shuffled)
    paged.add(shuffled[:page])
    paged.add(shuffled[page:])
    assert whole.summaries() == paged.summaries()
    assert sum(each.counts["total"] for each in whole.summaries()) == len(observations)
    for each in whole.summaries():
        assert each.counts["total"] == sum(number for name, number in each.counts.items() if name != "total")


def test_a_summary_fills_every_column_of_its_table() -> None:
    tally = Tally()
    tally.add([observation(on(1))])
    [summary] = tally.summaries()
    filled = {"day", "domain", "backend", "error_codes", *summary.counts, *summary.seconds}
    assert filled == {column.name for column in DAILY_ANALYTICS.columns}
    assert (summary.seconds["run_seconds_p50"], summary.seconds["answer_seconds_max"]) == (4.0, 5.0)


def test_a_senders_clock_that_is_ahead_gives_no_negative_time() -> None:
    ahead = on(1, requested_at=datetime(2030, 1, 1, tzinfo=UTC))
    assert observation(ahead).answer_seconds == 0.0


def test_an_archive_has_every_column_of_the_history() -> None:
    assert parquet.SCHEMA.names == [column.name for column in HISTORY.columns if column.name != "archive_key"]


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
FIELDS = {
    "prompt": TEXTS,
    "url": st.none() | TEXTS,
    "error_message": st.none() | TEXTS,
    "size_bytes": st.none() | st.integers(0, 2**62),
    "published_partition": st.none() | st.integers(0, 2**31 - 1),
    "recorded_at": st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - by `timezones`
    "started_at": st.none() | TIMES,
}


@given(st.lists(st.fixed_dictionaries(FIELDS), min_size=1, max_size=5))
def test_an_archive_gives_back_what_went_in(changed: list[dict[str, Any]]) -> None:
    rows = [{**on(1), **fields} for fields in changed]
    rows = [{**row, "history_id": str(row["history_id"]), "event_id": str(row["event_id"])} for row in rows]
    assert parquet.read(parquet.written(rows)) == rows


def test_the_same_rows_are_the_same_bytes() -> None:
    row = {**on(1), "history_id": "1", "event_id": "2"}
    assert parquet.written([row]) == parquet.written([dict(row)])


@pytest.mark.parametrize("data", [b"", b"PAR1", b"not parquet at all" * 100])
def test_what_is_no_archive_is_told_from_one(data: bytes) -> None:
    with pytest.raises(parquet.NoArchiveError):
        parquet.read(data)


def test_an_archive_of_before_a_column_was_added_is_still_read() -> None:
    row = {**on(1), "history_id": "1", "event_id": "2"}
    table = pa.Table.from_pylist([row], schema=parquet.SCHEMA).drop_columns(["backend", "started_at"])
    target = io.BytesIO()
    write_table(table, target)
    [read] = parquet.read(target.getvalue())
    assert (read["backend"], read["started_at"], read["prompt"]) == (None, None, row["prompt"])
    assert dataclasses.asdict(observation(read))["backend"] == ""


def test_the_schedule_starts_what_the_registry_runs_where_the_request_does() -> None:
    schedule = SCHEDULES["daily-maintenance"]
    route = load_routes().find("headrace.maintenance.MaintenanceRequested")
    assert route is not None
    assert (schedule.action.workflow, schedule.action.id) == ("MaintenanceWorkflow", "maintenance")  # type: ignore[attr-defined]
    assert schedule.spec.cron_expressions == ["0 2 * * *"]
    assert (route.workflow, route.task_queue) == (names.WORKFLOW_MAINTENANCE, "project-ai-scheduled")
    assert schedule.action.task_queue == route.task_queue  # type: ignore[attr-defined]
    assert [workflow.__name__ for workflow in DOMAINS["maintenance"].queues[route.task_queue]] == [route.workflow]
