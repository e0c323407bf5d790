"""Payloads that lie in S3, for Temporal's storage driver."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from temporalio.contrib.aws.s3driver import S3StorageDriverClient

from headrace import s3_refusals

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

T = TypeVar("T")

_PREFIX = "v0/"
"""How the driver's keys begin."""


class PayloadObjects(S3StorageDriverClient):
    """boto3 in threads. Raises `RuntimeError`, as the driver does, with a sentence that says what to look at.

    A reference names bucket and key: one that names anything but payloads in this bucket is not followed.

    Whoever may write to the Temporal namespace, or reach the codec server, makes up references.
    """

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    async def put_object(self, *, bucket: str, key: str, data: bytes) -> None:
        await _call(lambda: self._client.put_object(Bucket=bucket, Key=key, Body=data))

    async def object_exists(self, *, bucket: str, key: str) -> bool:
        def ask() -> bool:
            try:
                self._client.head_object(Bucket=bucket, Key=key)
            except ClientError as error:
                if s3_refusals.code_of(error) in s3_refusals.MISSING:
                    return False
                raise
            return True

        return await _call(ask)

    async def get_object(self, *, bucket: str, key: str) -> bytes:
        """Raises `PermissionError`, and what boto3 raises."""
        if bucket != self._bucket or not key.startswith(_PREFIX):
            raise PermissionError(f"no payload lies at s3://{bucket}/{key}")

        def read() -> bytes:
            return self._client.get_object(Bucket=bucket, Key=key)["Body"].read()

        return await _call(read)


async def _call(ask: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(ask)
    except (BotoCoreError, ClientError) as error:
        raise RuntimeError(s3_refusals.why(error)) from error
