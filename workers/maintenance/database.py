"""Errors of the database in Temporal's words."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from temporalio.exceptions import ApplicationError

from schemas.errors import FailureType, bounded


@contextlib.contextmanager
def asking_the_database() -> Iterator[None]:
    """Raises a retryable `ApplicationError` without the statement and its values."""
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        raise ApplicationError(
            f"the database does not answer as it must: {bounded(str(cause) or type(cause).__name__, 300)}",
            type=FailureType.DATABASE_UNAVAILABLE,
        ) from error
