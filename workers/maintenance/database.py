"""Errors of the database in Temporal's words."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from sqlalchemy.exc import SQLAlchemyError
from temporalio.exceptions import ApplicationError

from headrace.store.away import why
from schemas.errors import FailureType


@contextlib.contextmanager
def asking_the_database() -> Iterator[None]:
    """Raises a retryable `ApplicationError` without the statement and its values."""
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        raise ApplicationError(
            f"the database does not answer as it must: {why(error)}",
            type=FailureType.DATABASE_UNAVAILABLE,
        ) from error
