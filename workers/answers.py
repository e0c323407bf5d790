"""What an HTTP answer of a service that we ask means: sorted by what happens next."""

from __future__ import annotations

import email.utils
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from temporalio.exceptions import ApplicationError

from schemas.errors import FailureType, bounded

_LONGEST_RETRY_AFTER = timedelta(minutes=5)
_UNAUTHORIZED = (401, 403)
_RATE_LIMITED = 429
_TIMEOUT = 408
_SERVER_ERROR = 500


def unavailable(message: str) -> ApplicationError:
    """To be tried again."""
    return ApplicationError(message, type=FailureType.BACKEND_UNAVAILABLE)


def sort_answer(
    backend: str, setting: str, status: int, headers: Mapping[str, str], text: str, sent: Mapping[str, str]
) -> ApplicationError:
    """What an answer other than 2xx means; content policy is the caller's to know. `sent` are the headers of the request.

    To be raised `from None`: the client library's own error has all of the server's words, and Temporal keeps what stands behind an error.
    """
    if status in _UNAUTHORIZED:
        # Without the backend's own words: OpenAI's quote the key in part, and the completion carries this message to everybody.
        said = f"{backend} answers {status}: it refuses the key. Check {setting}"
        return ApplicationError(said, type=FailureType.BACKEND_CREDENTIALS_REFUSED, non_retryable=True)
    said = f"{backend} answers {status}: {bounded(without_key(text, sent), 300)}"
    if status == _RATE_LIMITED:
        return ApplicationError(said, type=FailureType.BACKEND_RATE_LIMITED, next_retry_delay=retry_after(headers))
    if status >= _SERVER_ERROR or status == _TIMEOUT:
        return ApplicationError(said, type=FailureType.BACKEND_UNAVAILABLE, next_retry_delay=retry_after(headers))
    return ApplicationError(said, type=FailureType.BACKEND_REFUSED, non_retryable=True)


def without_key(text: str, sent: Mapping[str, str]) -> str:
    """A server's words without the key that it was sent: some repeat the request."""
    *_, key = sent.get("authorization", "").split() or [""]
    return text.replace(key, "***") if key else text


def retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """RFC 9110, 10.2.3: seconds or a date. None where there is none or it makes no sense; five minutes at the most."""
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    try:
        wait = timedelta(seconds=float(value))
    except (ValueError, OverflowError):
        try:
            wait = email.utils.parsedate_to_datetime(value) - datetime.now(UTC)
        except (ValueError, TypeError):
            return None
    return min(wait, _LONGEST_RETRY_AFTER) if wait > timedelta() else None


def not_configured(backend: str, setting: str) -> ApplicationError:
    return ApplicationError(
        f"backend {backend} has no key: set {setting} for the workers", type=FailureType.BACKEND_NOT_CONFIGURED, non_retryable=True
    )
