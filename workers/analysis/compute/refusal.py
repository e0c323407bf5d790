"""Why a data set is not analysed."""

from __future__ import annotations

from schemas.errors import FailureType


class Refused(Exception):  # noqa: N818 - named for what happens next
    """The data set is to blame: trying again gives the same. The message holds none of its values."""

    def __init__(self, code: FailureType, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(message)
