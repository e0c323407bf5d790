"""The S3 client: boto3, called in threads by its users."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from headrace.settings import Settings

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client


def client(settings: Settings) -> S3Client:
    """A client that never retries by itself: Temporal owns retries. The URLs that it presigns are of the public endpoint."""
    made = _client(settings, settings.s3_endpoint_url)
    if settings.s3_public_endpoint_url is not None:
        # The host is part of what is signed, so it cannot be replaced afterwards. To sign opens no connection.
        made.generate_presigned_url = _client(settings, settings.s3_public_endpoint_url).generate_presigned_url  # type: ignore[method-assign]
    return made


def _client(settings: Settings, endpoint_url: str | None) -> S3Client:
    secret = settings.s3_secret_access_key
    made: S3Client = boto3.client(
        "s3",
        endpoint_url=endpoint_url,
        region_name=settings.s3_region,
        aws_access_key_id=settings.s3_access_key_id,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"} if endpoint_url else {},
            retries={"total_max_attempts": 1},
            connect_timeout=5,
            read_timeout=30,
            max_pool_connections=32,
        ),
    )
    return made
