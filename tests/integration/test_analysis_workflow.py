"""The workflow on a real server that skips time, its steps in real processes: how each run ends, and what it tells."""

from __future__ import annotations

import io
import signal

import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError, CancelledError

from headrace.demo.datasets import GROUPS, customers
from schemas import ids
from tests.support.analysis_runs import Interfering, is_gone, processes, start, uploaded, working
from tests.support.eventually import eventually
from tests.support.runs import FakeNotifier
from workers.analysis.processes import Processes

__all__ = ["processes"]

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


@pytest.fixture
def client(skipping: Client) -> Client:
    return skipping


@pytest.mark.timeout(300)
async def test_known_groups_are_found_and_told_with_a_report(client: Client, processes: Processes) -> None:
    notifier, objects = FakeNotifier(), uploaded()
    async with working(client, processes, objects, notifier) as analyses:
        handle = await start(client, analysis_type="clustering")
        result = await handle.result()
    [sent] = notifier.completions
    assert (sent.domain, sent.record, sent.completion["status"]) == ("analysis", "headrace.analysis.DataAnalysisCompleted", "SUCCEEDED")
    assert sent.completion["result"] == result.model_dump(mode="json")
    assert (result.rows, result.columns, result.clusters, result.status) == (1000, 10, GROUPS, "completed")
    event_id = sent.completion["event_id"]
    labels = pd.read_parquet(io.BytesIO(objects.files[f"analyses/{event_id}/labels.parquet"]))["group"]
    assert adjusted_rand_score(labels, customers(1000).groups) >= 0.95
    report = objects.files[result.report_key].decode()
    assert report.startswith("<!DOCTYPE html>")
    assert report.count("data:image/png;base64,") == len(result.visualization_urls) == 8
    assert len(objects.files[result.report_key]) == result.report_size_bytes
    assert analyses.rows[event_id].analysis_id == result.analysis_id
    [recorded] = notifier.history
    assert (recorded.entry.key, recorded.entry.sha256) == (result.report_key, result.report_sha256)
    assert result.analysis_id == ids.analysis_id(recorded.entry.event_id)


@pytest.mark.timeout(300)
async def test_every_step_whose_process_is_killed_succeeds_in_another(client: Client, processes: Processes) -> None:
    notifier, killing = FakeNotifier(), Interfering(processes, signal.SIGKILL)
    async with working(client, killing, uploaded(), notifier):
        result = await (await start(client, analysis_type="clustering")).result()
    assert len(killing.hit) == 6
    assert result.clusters == GROUPS
    assert [sent.completion["status"] for sent in notifier.completions] == ["SUCCEEDED"]


@pytest.mark.timeout(300)
async def test_a_cancelled_run_kills_the_process_of_its_step_and_the_next_run_has_one(client: Client, processes: Processes) -> None:
    notifier, stopping = FakeNotifier(), Interfering(processes, signal.SIGSTOP, only="perform_exploratory_analysis")
    async with working(client, stopping, uploaded(), notifier):
        handle = await start(client)
        [pid] = await eventually(lambda: list(stopping.hit.values()), timeout=60)
        await handle.cancel()
        with pytest.raises(WorkflowFailureError) as raised:
            await handle.result()
        await eventually(lambda: is_gone(pid), timeout=30)
        again = await (await start(client)).result()
    assert isinstance(raised.value.cause, CancelledError)
    assert [sent.completion["status"] for sent in notifier.completions] == ["CANCELLED", "SUCCEEDED"]
    assert again.clusters is None


REFUSED = {
    "another user's upload": ({"file_path": "s3://headrace/uploads/v/customers.csv"}, None, "DatasetNotAllowed"),
    "Headrace's own objects": ({"file_path": "s3://headrace/images/x.png"}, None, "DatasetNotAllowed"),
    "a bucket that is not on the list": ({"file_path": "s3://somebody-elses/x.csv"}, None, "DatasetNotAllowed"),
    "a missing object": ({"file_path": "s3://open-data/x.csv"}, None, "DatasetNotFound"),
    "no bytes": ({}, b"", "DatasetEmpty"),
    "a header and nothing else": ({}, b"a,b,c\n", "DatasetEmpty"),
    "all missing": ({}, b"a,b\n,\n,\n", "DatasetAllMissing"),
    "one column to cluster": ({"analysis_type": "clustering"}, b"a\n1\n2\n3\n", "DatasetOneColumn"),
    "nothing to cluster": ({"analysis_type": "clustering"}, b"a,b\n1,2\n3,4\n", "NothingToCluster"),
    "a picture": ({}, PNG, "DatasetUnreadable"),
    "a picture as a workbook": ({"file_type": "xlsx"}, PNG, "DatasetUnreadable"),
    "too many rows": ({}, b"a,b\n" + b"1,2\n" * 50_001, "DatasetTooLarge"),
    "too many columns": ({}, ",".join(f"c{number}" for number in range(501)).encode() + b"\n", "DatasetTooLarge"),
}


@pytest.mark.parametrize(("changed", "data", "code"), REFUSED.values(), ids=REFUSED.keys())
async def test_a_data_set_that_is_not_analysed_fails_with_its_code_at_the_first_attempt(
    client: Client, processes: Processes, changed: dict[str, object], data: bytes | None, code: str
) -> None:
    notifier = FakeNotifier()
    async with working(client, processes, uploaded(data), notifier):
        handle = await start(client, **changed)
        with pytest.raises(WorkflowFailureError) as raised:
            await handle.result()
    assert isinstance(raised.value.cause, ApplicationError)
    assert raised.value.cause.type == code
    [sent] = notifier.completions
    assert (sent.completion["status"], sent.completion["error"]["code"], sent.completion["result"]) == ("FAILED", code, None)
    attempts = [event.activity_task_started_event_attributes.attempt async for event in handle.fetch_history_events()]
    assert max(attempts) == 1
