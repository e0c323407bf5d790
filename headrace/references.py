"""Requests that are too large for Kafka: the value lies in the bucket, and the record has its place in the header `ce_dataref`.

The record's own value is empty, not null: null would be a tombstone, which removes the key's earlier records where a topic is compacted.
The object has exactly the bytes that the value would have been.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from aiokafka import ConsumerRecord

from headrace.settings import Settings
from schemas import headers
from schemas.errors import Reason, Rejected, Transient, bounded
from schemas.objects import REQUESTS

if TYPE_CHECKING:
    from botocore.exceptions import BotoCoreError, ClientError
    from types_boto3_s3.client import S3Client

T = TypeVar("T")

_LONGEST_KEY = 1024
_THREADS = 8


class NotStored(Exception):  # noqa: N818 - named for what happened
    """A request that Kafka does not take cannot go by reference either; the text says what to do."""


class References:
    """The objects behind `ce_dataref`. S3 is not spoken to, no client made and boto3 not imported, before the first of them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._place = f"s3://{settings.s3_bucket}/{REQUESTS}"
        self._client: S3Client | None = None
        # Of its own: name look-ups for Kafka share the event loop's, and must not wait for an S3 that hangs.
        self._threads = ThreadPoolExecutor(_THREADS, "references")

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def key(self, reference: str) -> str:
        """The key of an object that a request may refer to.

        Raises `Rejected(REFERENCE_REFUSED)` for every other place: who may produce must not make Headrace read what they cannot.
        """
        key = reference.removeprefix(f"s3://{self._settings.s3_bucket}/")
        # S3's keys are flat, but an S3 that keeps its objects in folders may resolve dots.
        plain = key.isprintable() and "\\" not in key and not {"", ".", ".."} & set(key.split("/"))
        if not reference.startswith(self._place) or not plain or len(key.encode("utf-8", "replace")) > _LONGEST_KEY:
            raise Rejected(
                Reason.REFERENCE_REFUSED, f"{headers.CE_DATAREF} is {bounded(reference, 200)!r}: only objects below {self._place} are read"
            )
        return key

    async def size(self, reference: str) -> int:
        """Bytes of an object. Raises `Rejected` (REFERENCE_REFUSED, REFERENCE_MISSING), and `Transient` while S3 does not answer."""
        from botocore.exceptions import ClientError

        from headrace import s3_refusals

        key = self.key(reference)

        def ask(client: S3Client) -> int:
            try:
                return client.head_object(Bucket=self._settings.s3_bucket, Key=key)["ContentLength"]
            except ClientError as error:
                if s3_refusals.code_of(error) in s3_refusals.MISSING:
                    client.head_bucket(Bucket=self._settings.s3_bucket)  # without its bucket every object would seem to be missing
                    raise _missing(reference) from error
                raise

        return await self._asked(ask)

    async def fetch(self, reference: str, most: int) -> bytes:
        """An object of `most` bytes. Raises as `size` does, and `Rejected(TOO_LARGE)` before it reads a larger one."""
        from botocore.exceptions import ClientError

        key = self.key(reference)

        def read(client: S3Client) -> bytes:
            try:
                found = client.get_object(Bucket=self._settings.s3_bucket, Key=key)
            except ClientError as error:
                if error.response["Error"]["Code"] == "NoSuchKey":
                    raise _missing(reference) from error
                if error.response["Error"]["Code"] == "InvalidObjectState":
                    raise Rejected(Reason.REFERENCE_REFUSED, f"{bounded(reference, 200)} is archived: restore it") from error
                raise
            with found["Body"] as body:
                check_size(reference, found["ContentLength"], most)
                return body.read()

        return await self._asked(read)

    async def value(self, record: ConsumerRecord) -> bytes | None:
        """A record's value, wherever it lies. Raises as `fetch` does; the limit is `HEADRACE_INGRESS_MAX_BYTES`."""
        reference = headers.dataref(record.value, record.headers)
        return record.value if reference is None else await self.fetch(reference, self._settings.ingress_max_bytes)

    async def store(self, topic: str, event_id: UUID, value: bytes) -> str:
        """The reference of an object with this value. Stored again, it is the same object.

        Raises `NotStored`, and `Transient` while S3 does not answer.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        from headrace import s3_refusals

        size, most, bucket = len(value), self._settings.ingress_max_bytes, self._settings.s3_bucket
        if size > most:
            raise NotStored(f"a request of {size} bytes is more than the ingress takes, {most} (HEADRACE_INGRESS_MAX_BYTES)")
        key = f"{REQUESTS}{topic}/{event_id}/{hashlib.sha256(value).hexdigest()}"
        try:
            await self._run(lambda client: client.put_object(Bucket=bucket, Key=key, Body=value))
        except (ClientError, BotoCoreError, OSError) as error:
            if isinstance(error, OSError) or not s3_refusals.is_refused(error):
                raise self._away(error) from error
            raise NotStored(
                f"a request of {size} bytes is more than Kafka takes, so it goes by reference below {self._place}, and S3 does not take it:"
                f" {s3_refusals.why(error)}"
            ) from error
        return f"s3://{bucket}/{key}"

    async def _asked(self, ask: Callable[[S3Client], T]) -> T:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return await self._run(ask)
        except (ClientError, BotoCoreError, OSError) as error:
            raise self._away(error) from error

    async def _run(self, ask: Callable[[S3Client], T]) -> T:
        def work() -> T:
            from headrace import s3

            # Not in the event loop: to look for credentials may ask the machine's metadata service.
            self._client = self._client or s3.client(self._settings)
            return ask(self._client)

        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _away(self, error: BotoCoreError | ClientError | OSError) -> Transient:
        from headrace import s3_refusals

        address = self._settings.s3_endpoint_url or "AWS"
        said = bounded(str(error) or repr(error), 200) if isinstance(error, OSError) else s3_refusals.why(error)
        return Transient(f"S3 at {address} does not give or take what lies below {self._place}: {said}")


def check_size(reference: str, size: int, most: int) -> None:
    """Raises `Rejected(TOO_LARGE)`."""
    if size > most:
        raise Rejected(Reason.TOO_LARGE, f"{bounded(reference, 200)} has {size} bytes, and {most} are taken (HEADRACE_INGRESS_MAX_BYTES)")


def _missing(reference: str) -> Rejected:
    return Rejected(Reason.REFERENCE_MISSING, f"there is no object at {bounded(reference, 300)}: store it before its record is sent")
