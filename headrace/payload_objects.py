"""Payloads that lie in S3, for Temporal's storage driver."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from temporalio.contrib.aws.s3driver import S3StorageDriverClient

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

_PREFIX = "v0/"
"""How the driver's keys begin."""
_MISSING = ("404", "NoSuchKey", "NotFound")


class PayloadObjects(S3StorageDriverClient):
    """boto3 in threads. A reference names bucket and key: one that names anything but payloads in this bucket is not followed.

    Whoever may write to the Temporal namespace, or reach the codec server, makes up references.
    """

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    async def put_object(self, *, bucket: str, key: str, data: bytes) -> None:
        await asyncio.to_thread(self._client.put_object, Bucket=bucket, Key=key, Body=data)

    async def object_exists(self, *, bucket: str, key: str) -> bool:
        try:
            await asyncio.to_thread(self._client.head_object, Bucket=bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] in _MISSING:
                return False
            raise
        return True

    async def get_object(self, *, bucket: str, key: str) -> bytes:
        """Raises `PermissionError`, and what boto3 raises."""
        if bucket != self._bucket or not key.startswith(_PREFIX):
            raise PermissionError(f"no payload lies at s3://{bucket}/{key}")

        def read() -> bytes:
            return self._client.get_object(Bucket=bucket, Key=key)["Body"].read()

        return await asyncio.to_thread(read)
