"""What an analysis request may ask for, and read."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from temporalio.exceptions import ApplicationError

from schemas.analysis import DataAnalysisRequested, Finding, parse_uri, upload_prefix
from schemas.errors import FailureType
from workers.analysis.logic import readable, told

FIELDS = {"event_id": uuid4(), "user_id": "ada", "requested_at": datetime.now(UTC), "file_path": "s3://b-1/x.csv", "file_type": "csv"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("file_path", "/etc/passwd"),
        ("file_path", "file:///etc/passwd"),
        ("file_path", "http://169.254.169.254/latest"),
        ("file_path", "https://bucket.s3.amazonaws.com/x.csv"),
        ("file_path", "s3://bucket"),
        ("file_path", "s3://bucket/"),
        ("file_path", "s3:///x.csv"),
        ("file_path", "s3://Bucket_1/x.csv"),
        ("file_path", "s3://bucket/uploads/ada/../bob/x.csv"),
        ("file_path", "s3://bucket/uploads/ada//x.csv"),
        ("file_path", "s3://bucket/./x.csv"),
        ("file_path", "s3://bucket/x\x00.csv"),
        ("file_path", "s3://bucket/" + "x" * 1025),
        ("file_type", "xls"),
        ("file_type", "CSV"),
        ("analysis_type", "predictive"),
    ],
)
def test_a_request_for_what_no_analysis_reads_is_refused_by_its_model(field: str, value: str) -> None:
    with pytest.raises(ValidationError):
        DataAnalysisRequested.model_validate({**FIELDS, field: value})


@pytest.mark.parametrize("user", ["ada", "ada/../bob", "..", "a/b", "%2e%2e", "ä b", "."])
def test_a_user_reads_below_a_prefix_that_is_no_other_users(user: str) -> None:
    own = f"s3://headrace/{upload_prefix(user)}x.csv"
    if user in {"..", "."}:
        with pytest.raises(ValueError, match="segment"):
            parse_uri(own)
        return
    assert readable(own, user, "headrace", ()) == ("headrace", f"{upload_prefix(user)}x.csv")
    with pytest.raises(ApplicationError):
        readable(own, "bob", "headrace", ())


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_no_two_users_share_a_prefix(one: str, other: str) -> None:
    if one != other:
        assert not upload_prefix(one).startswith(upload_prefix(other))


@pytest.mark.parametrize(
    "key", ["images/x.png", "analyses/1/report.html", "tmp/analyses/1/dataset.parquet", "uploads/bob/x.csv", "uploads/ada"]
)
def test_headraces_own_bucket_gives_nothing_but_the_users_uploads_even_when_it_is_on_the_list(key: str) -> None:
    with pytest.raises(ApplicationError) as raised:
        readable(f"s3://headrace/{key}", "ada", "headrace", ("headrace",))
    assert (raised.value.type, raised.value.non_retryable) == ("DatasetNotAllowed", True)


def test_a_bucket_on_the_list_is_read_and_another_names_the_setting() -> None:
    assert readable("s3://open-data/a/b.csv", "ada", "headrace", ("open-data",)) == ("open-data", "a/b.csv")
    with pytest.raises(ApplicationError, match="HEADRACE_ANALYSIS_BUCKETS"):
        readable("s3://open-data-2/a/b.csv", "ada", "headrace", ("open-data",))


def test_a_completion_carries_errors_first_none_twice_and_not_too_many() -> None:
    findings = [Finding(code=f"c{number}", severity="info", message="m" * 999) for number in range(80)]
    error = Finding(code="bad", severity="error", message="e")
    carried = told([*findings, error, error])
    assert carried[0] == error
    assert len(carried) == 50
    assert max(len(finding.message) for finding in carried) == 300


def test_the_page_of_the_workflow_lists_every_code_that_its_steps_can_give() -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs" / "workflows.md").read_text().partition("## Data analysis")[2].partition("\n## ")[0]
    code = "".join(path.read_text() for path in (root / "workers" / "analysis").rglob("*.py"))
    failures = {FailureType[name] for name in re.findall(r"FailureType\.([A-Z_]+)", code)}
    findings = set(re.findall(r'(?:code=|_warning\(\s*)"([a-z_]+)"', code))
    assert len(findings) >= 15
    assert {name for name in failures | findings if f"`{name}`" not in page} == set()
