"""How payloads lie in Temporal: as JSON, encrypted where keys are set, in S3 where they are large."""

from __future__ import annotations

import dataclasses

from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes, ExternalStorage

from headrace.settings import Settings

MOST_IN_S3 = 50 * 1024 * 1024
"""Bytes of one payload, before it is encrypted."""
_ADDED = 64 * 1024
"""More than encryption and the payload's own fields add."""
_STORE_FAILED = "S3StorageDriver store failed"


def storage_failure(error: RuntimeError) -> str | None:
    """Why S3 has not taken a payload; None when the error is another one."""
    return (str(error.__cause__) or repr(error.__cause__)) if str(error).startswith(_STORE_FAILED) else None


def converter(settings: Settings) -> DataConverter:
    """For every client and worker: what one writes the others must read. Raises `SettingsError`."""
    made = pydantic_data_converter
    # Imported where they are used: a short command would otherwise spend a third of its time on them.
    if settings.payload_keys is not None:
        from headrace.encryption import Encryption, parse_keys

        codec = Encryption(parse_keys(settings.payload_keys.get_secret_value()))
        # A failure's message and stack trace are encrypted too: they may repeat what was processed.
        made = dataclasses.replace(made, payload_codec=codec, failure_converter_class=DefaultFailureConverterWithEncodedAttributes)
    if settings.payload_s3_bytes is not None:
        from temporalio.contrib.aws.s3driver import S3StorageDriver

        from headrace import s3
        from headrace.payload_objects import PayloadObjects

        objects = PayloadObjects(s3.client(settings))
        driver = S3StorageDriver(client=objects, bucket=settings.s3_bucket, max_payload_size=MOST_IN_S3 + _ADDED)
        storage = ExternalStorage(drivers=[driver], payload_size_threshold=settings.payload_s3_bytes)
        made = dataclasses.replace(made, external_storage=storage)
    return made
