"""The data analysis domain's records."""

import re
from typing import Annotated, Literal
from urllib.parse import quote
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints

from schemas.completion import Completion
from schemas.request import Model, Request

FileType = Literal["csv", "json", "jsonl", "parquet", "xlsx"]
AnalysisType = Literal["exploratory", "clustering"]

UPLOADS = "uploads/"

# S3's own rules for the names of buckets; a key has 1024 bytes at the most.
_URI = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(.+)", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")
_MAX_KEY_BYTES = 1024


def parse_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of `s3://bucket/key`.

    A key with `.`, `..` or nothing between two slashes is refused: some S3 servers keep objects in folders and would read another key.
    Raises `ValueError`.
    """
    match = _URI.fullmatch(uri)
    if match is None:
        raise ValueError(f"file_path {uri[:80]!r} is not the S3 URI of an object, s3://bucket/key")
    key = match[2]
    if len(key.encode("utf-8", "replace")) > _MAX_KEY_BYTES:
        raise ValueError(f"the key in file_path has more than {_MAX_KEY_BYTES} bytes")
    if _CONTROL.search(key) or any(segment in {"", ".", ".."} for segment in key.split("/")):
        raise ValueError("the key in file_path has a control character, a backslash, or a segment that is empty, '.' or '..'")
    return match[1], key


def _is_uri(uri: str) -> str:
    parse_uri(uri)
    return uri


def upload_prefix(user_id: str) -> str:
    """Where a user's files lie in Headrace's own bucket; a request reads only below its own user's prefix."""
    return f"{UPLOADS}{quote(user_id, safe='')}/"


class DataAnalysisRequested(Request):
    file_path: Annotated[str, StringConstraints(max_length=1100), AfterValidator(_is_uri)]
    file_type: FileType
    analysis_type: AnalysisType = "exploratory"


class Finding(Model):
    """One thing that the reader of an analysis should know, without any of the data set's values."""

    code: str
    """Stable, for programs; an error's is a `FailureType`."""
    severity: str
    """`error`, `warning` or `info`."""
    message: str
    """A sentence, for people."""
    column: str | None = None


class DataAnalysisResult(Model):
    """What was found, and where the report lies."""

    analysis_id: UUID
    status: str = "completed"
    summary: str
    rows: int
    columns: int
    clusters: int | None = None
    report_key: str
    report_url: str
    report_size_bytes: int
    report_sha256: str
    visualization_urls: list[str] = Field(default_factory=list)
    findings: list[Finding] = Field(default_factory=list, max_length=50)


DataAnalysisCompleted = Completion[DataAnalysisResult]
