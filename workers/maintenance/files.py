"""Local temporary files, of the machine that the activity runs on."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from temporalio.exceptions import ApplicationError

from schemas.errors import FailureType
from workers.maintenance.logic import Temporary

_PAGE = 1000


class TemporaryFiles:
    """Those below one folder; it need not be there. Links are not followed: a link is removed, never what it leads to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.prefix = f"{folder}{os.sep}"

    async def pages(self) -> AsyncIterator[Sequence[Temporary]]:
        found = _files(self._folder)
        while page := await asyncio.to_thread(lambda: list(itertools.islice(found, _PAGE))):
            yield page

    async def remove(self, found: Sequence[Temporary]) -> None:
        await asyncio.to_thread(self._remove, found)

    def _remove(self, found: Sequence[Temporary]) -> None:
        for each in found:
            try:
                Path(each.name).unlink(missing_ok=True)
            except OSError as error:
                raise _refused(error) from error
            with contextlib.suppress(OSError):  # it has other files, or is the folder itself, which stays
                if (parent := Path(each.name).parent) != self._folder:
                    parent.rmdir()


def _files(folder: Path) -> Iterator[Temporary]:
    for parent, folders, files in os.walk(folder, onerror=_unreadable):
        links = [name for name in folders if Path(parent, name).is_symlink()]
        for name in (*files, *links):
            path = Path(parent, name)
            with contextlib.suppress(FileNotFoundError):
                stat = path.lstat()
                yield Temporary(str(path), stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC))


def _unreadable(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise _refused(error) from error


def _refused(error: OSError) -> ApplicationError:
    return ApplicationError(
        f"{error.filename} cannot be read or removed: {error.strerror}. Give the workers' user the right to, or remove it yourself",
        type=FailureType.STORAGE_REFUSED,
        non_retryable=True,
    )
