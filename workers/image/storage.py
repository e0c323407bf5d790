"""Pictures in S3."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from headrace.s3_refusals import MISSING, code_of
from workers.image.activities import StoredObject
from workers.storage import failed

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

T = TypeVar("T")


class S3Images:
    """boto3 in threads."""

    def __init__(self, client: S3Client, bucket: str, url_seconds: int) -> None:
        self._client = client
        self._bucket = bucket
        self._url_seconds = url_seconds

    async def put(self, key: str, data: bytes, content_type: str, sha256: str) -> None:
        await self._call(
            lambda: self._client.put_object(Bucket=self._bucket, Key=key, Body=data, ContentType=content_type, Metadata={"sha256": sha256})
        )

    async def head(self, key: str) -> StoredObject | None:
        """None when there is no such object."""

        def ask() -> StoredObject | None:
            try:
                found = self._client.head_object(Bucket=self._bucket, Key=key)
            except ClientError as error:
                if code_of(error) in MISSING:
                    return None
                raise
            return StoredObject(found["ContentLength"], found["Metadata"].get("sha256"))

        return await self._call(ask)

    async def url(self, key: str) -> str:
        return await self._call(
            lambda: self._client.generate_presigned_url(
                "get_object", Params={"Bucket": self._bucket, "Key": key}, ExpiresIn=self._url_seconds
            )
        )

    async def _call(self, ask: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(ask)
        except (BotoCoreError, ClientError) as error:
            raise failed(self._bucket, error) from error
