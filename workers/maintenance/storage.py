"""Temporary objects and archives in S3: boto3 in threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from temporalio.exceptions import ApplicationError

from headrace.s3_refusals import MISSING, code_of, code_refuses
from schemas.errors import FailureType, bounded
from schemas.objects import TEMPORARY
from workers.maintenance.logic import Temporary
from workers.storage import failed, refused

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.type_defs import ListObjectsV2OutputTypeDef

T = TypeVar("T")


class Bucket:
    """Raises `ApplicationError` (STORAGE_REFUSED, STORAGE_UNAVAILABLE)."""

    def __init__(self, client: S3Client, name: str) -> None:
        self.client = client
        self.name = name

    async def get(self, key: str) -> bytes | None:
        """None when there is no such object."""

        def ask() -> bytes | None:
            try:
                return self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
            except ClientError as error:
                if code_of(error) in MISSING:
                    return None
                raise

        return await self.call(ask)

    async def put(self, key: str, data: bytes) -> None:
        await self.call(lambda: self.client.put_object(Bucket=self.name, Key=key, Body=data, ContentType="application/vnd.apache.parquet"))

    async def call(self, ask: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(ask)
        except (BotoCoreError, ClientError) as error:
            raise failed(self.name, error) from error


class TemporaryObjects:
    """Those of this bucket below `tmp/`."""

    prefix = TEMPORARY

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def pages(self) -> AsyncIterator[Sequence[Temporary]]:
        """At most 1000 at a time, as S3 lists them."""
        after: str | None = ""
        while after is not None:
            listed = await self._bucket.call(self._listing(after))
            found = [Temporary(each["Key"], each["Size"], each["LastModified"]) for each in listed.get("Contents", [])]
            yield found
            after = found[-1].name if listed["IsTruncated"] and found else None

    def _listing(self, after: str) -> Callable[[], ListObjectsV2OutputTypeDef]:
        return lambda: self._bucket.client.list_objects_v2(Bucket=self._bucket.name, Prefix=self.prefix, StartAfter=after)

    async def remove(self, found: Sequence[Temporary]) -> None:
        """To S3 an object that is gone already is a deleted one."""
        keys = [{"Key": each.name} for each in found]
        answer = await self._bucket.call(
            lambda: self._bucket.client.delete_objects(Bucket=self._bucket.name, Delete={"Objects": keys, "Quiet": True})  # type: ignore[typeddict-item]
        )
        for error in answer.get("Errors", []):
            if (code := error.get("Code", "")) not in MISSING:
                said = bounded(f"{error.get('Key')}: {code}: {error.get('Message')}", 300)
                if code_refuses(code):
                    raise refused(self._bucket.name, said)
                raise ApplicationError(f"S3 does not delete: {said}", type=FailureType.STORAGE_UNAVAILABLE)
