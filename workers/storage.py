"""What an error of S3 means for an activity; every domain's storage raises it."""

from __future__ import annotations

from botocore.exceptions import BotoCoreError, ClientError
from temporalio.exceptions import ApplicationError

from headrace import s3_refusals
from schemas.errors import FailureType


def failed(bucket: str, error: BotoCoreError | ClientError) -> ApplicationError:
    """STORAGE_REFUSED for credentials, rights and a bucket that is not there, else STORAGE_UNAVAILABLE.

    Both are tried again as often as the step's retries permit: a key that is being changed is not the request's fault.
    """
    if s3_refusals.is_refused(error):
        return refused(bucket, s3_refusals.why(error))
    return ApplicationError(
        f"S3 bucket {bucket} does not answer as it must: {s3_refusals.why(error)}", type=FailureType.STORAGE_UNAVAILABLE
    )


def refused(bucket: str, why: str) -> ApplicationError:
    return ApplicationError(f"S3 does not permit it in the bucket {bucket}: {why}", type=FailureType.STORAGE_REFUSED)
