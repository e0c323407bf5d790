"""Where the steps of one worker keep their files while they compute, and what becomes of them when it is killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = "headrace-analysis-"
_LOCK = "lock"


@contextlib.contextmanager
def workplaces() -> Iterator[Path]:
    """A folder of this worker's own below the system's temporary one, removed at the end.

    A worker that was killed removes nothing, and a data set may be half a gigabyte: whoever starts next on that machine does it. A
    worker that lives holds the lock in its folder, which the kernel gives back for a dead one.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{_LOCK}"):
        _remove_unless_held(left)
    folder, lock = _own()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _own() -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        # Another worker that starts now may take it for a dead one's, before it is locked: then there is a next one.
        with contextlib.suppress(OSError):
            lock = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if (folder / _LOCK).exists():
                return folder, lock
            os.close(lock)


def _remove_unless_held(file: Path) -> None:
    with contextlib.suppress(OSError):  # it is somebody else's, held, or gone meanwhile
        lock = os.open(file, os.O_RDWR | os.O_NOFOLLOW)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(file.parent, ignore_errors=True)
        finally:
            os.close(lock)
