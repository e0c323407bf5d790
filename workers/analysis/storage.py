"""Data sets, pictures and reports in S3."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from temporalio.exceptions import ApplicationError

from headrace.s3_refusals import MISSING, code_of
from schemas.errors import FailureType, bounded
from workers.analysis.activities import Stored
from workers.storage import failed

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

T = TypeVar("T")

_MISSING = MISSING | {"NoSuchBucket"}
_DENIED = ("403", "AccessDenied", "AllAccessDisabled", "InvalidObjectState")
_CHUNK = 1024 * 1024


class S3Objects:
    """boto3 in threads. Files go through the disk in pieces: a data set is never whole in this process's memory."""

    def __init__(self, client: S3Client, bucket: str, url_seconds: int) -> None:
        self._client = client
        self._bucket = bucket
        self._url_seconds = url_seconds

    async def fetch_upload(self, bucket: str, key: str, into: Path, max_bytes: int) -> None:
        """Somebody's file, of which nothing is known: it is measured before it is read, and while it is."""

        def ask(stopped: threading.Event) -> None:
            with _sorted_for_upload(bucket, key, own=bucket == self._bucket):
                size = self._client.head_object(Bucket=bucket, Key=key)["ContentLength"]
                if size > max_bytes:
                    raise _too_large(size, max_bytes)
                if self._download(bucket, key, into, stopped, max_bytes) is None:
                    raise _too_large(size, max_bytes)

        await self._call(ask)

    async def fetch(self, key: str, into: Path) -> None:
        def ask(stopped: threading.Event) -> None:
            try:
                self._download(self._bucket, key, into, stopped, None)
            except ClientError as error:
                if code_of(error) in _MISSING:
                    raise ApplicationError(
                        f"the object {key} of an earlier step is gone: send the request again under a new event ID",
                        type=FailureType.INTERMEDIATE_LOST,
                        non_retryable=True,
                    ) from error
                raise

        await self._call(ask)

    async def put(self, key: str, file: Path, content_type: str) -> Stored:
        def ask(_: threading.Event) -> Stored:
            with file.open("rb") as body:
                sha256 = hashlib.file_digest(body, "sha256").hexdigest()
                body.seek(0)
                self._client.put_object(Bucket=self._bucket, Key=key, Body=body, ContentType=content_type, Metadata={"sha256": sha256})
            return Stored(file.stat().st_size, sha256)

        return await self._call(ask)

    async def url(self, key: str) -> str:
        return await self._call(
            lambda _: self._client.generate_presigned_url(
                "get_object", Params={"Bucket": self._bucket, "Key": key}, ExpiresIn=self._url_seconds
            )
        )

    def _download(self, bucket: str, key: str, into: Path, stopped: threading.Event, max_bytes: int | None) -> int | None:
        """How many bytes were written; None when there were more than so many."""
        written = 0
        body = self._client.get_object(Bucket=bucket, Key=key)["Body"]
        with contextlib.closing(body), into.open("wb") as file:
            for chunk in body.iter_chunks(_CHUNK):
                written += len(chunk)
                if max_bytes is not None and written > max_bytes:
                    return None
                if stopped.is_set():
                    break
                file.write(chunk)
        return written

    async def _call(self, ask: Callable[[threading.Event], T]) -> T:
        stopped = threading.Event()
        try:
            return await asyncio.to_thread(ask, stopped)
        except (BotoCoreError, ClientError) as error:
            raise failed(self._bucket, error) from error
        finally:
            stopped.set()  # a thread cannot be cancelled: it stops at its next piece


@contextlib.contextmanager
def _sorted_for_upload(bucket: str, key: str, *, own: bool) -> Iterator[None]:
    """An object that is not there, or in another bucket may not be read, is the request's fault; anything else is S3's.

    In Headrace's own bucket a refusal means that the keys of these workers are wrong: that passes, and the request waits for it.
    """
    try:
        yield
    except ClientError as error:
        code = code_of(error)
        if code in _MISSING:
            said = f"there is no object s3://{bucket}/{bounded(key, 300)}: upload it before the request is sent"
            raise ApplicationError(said, type=FailureType.DATASET_NOT_FOUND, non_retryable=True) from error
        if code in _DENIED and not own:
            said = f"S3 does not let Headrace read s3://{bucket}/{bounded(key, 300)}, or it is not there: give its key s3:GetObject"
            raise ApplicationError(said, type=FailureType.DATASET_ACCESS_DENIED, non_retryable=True) from error
        raise


def _too_large(size: int, max_bytes: int) -> ApplicationError:
    return ApplicationError(
        f"the file has {size:,} bytes, at most {max_bytes:,} are read: send fewer columns or rows, or raise HEADRACE_ANALYSIS_MAX_BYTES",
        type=FailureType.DATASET_TOO_LARGE,
        non_retryable=True,
    )
