"""Locks on files, which the kernel gives back however their holder ends: no lock is ever stale."""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from pathlib import Path

INTERVAL = 0.05


class FileLock:
    """An exclusive lock on a file; children keep it too when its descriptor is passed on to them."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.descriptor: int | None = None

    def take(self) -> bool:
        """Lock the file; False when another process has it."""
        descriptor = os.open(self.file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except BaseException:
            os.close(descriptor)
            raise
        self.descriptor = descriptor
        return True

    async def take_within(self, seconds: float) -> bool:
        """Lock the file as soon as its holder lets go, for so long at most."""
        end = time.monotonic() + seconds
        while not self.take():
            if time.monotonic() > end:
                return False
            await asyncio.sleep(INTERVAL)
        return True

    def write_pid(self) -> None:
        """Note the holder in the locked file."""
        if self.descriptor is not None:
            os.ftruncate(self.descriptor, 0)
            os.pwrite(self.descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


def is_locked(file: Path) -> bool:
    """Whether a process holds the lock on this file."""
    if not file.exists():
        return False
    lock = FileLock(file)
    if lock.take():
        lock.release()
        return False
    return True


def read_pid(file: Path) -> int | None:
    """The pid that the holder wrote, None when there is none."""
    try:
        return int(file.read_text("utf-8"))
    except (OSError, ValueError):
        return None
