"""Taking a state folder into use: it can be written, has room, and nobody else runs a stack in it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from pathlib import Path

from headrace.stack.errors import StackError
from headrace.stack.fetch import MEBIBYTE, Say
from headrace.stack.lock import FileLock, read_pid
from headrace.stack.state import StateFolder

LEAST_FREE = 500 * MEBIBYTE
LEFTOVER_SECONDS = 3.0
LOOK_SECONDS = 0.2
"""Longer than `headrace status` holds the lock to see whether it is held."""


class Claim:
    """The two locks of a running stack: the supervisor's own, and the one its children hold too."""

    def __init__(self, state: StateFolder) -> None:
        self._state = state
        self._supervisor = FileLock(state.supervisor_lock)
        self._parts = FileLock(state.parts_lock)

    @property
    def inherited(self) -> int:
        """The descriptor that every child keeps open."""
        if self._parts.descriptor is None:
            raise RuntimeError("the state folder is not claimed")
        return self._parts.descriptor

    async def take(self, say: Say) -> None:
        """Make the folder this process's own; raises `StackError` when that cannot be."""
        state = self._state
        try:
            state.make()
            if not await self._supervisor.take_within(LOOK_SECONDS):
                raise StackError(
                    f"a stack is already running in {state.path} as pid {read_pid(state.supervisor_lock)}: look at it with "
                    "`headrace status`, end it with `headrace down`, or set HEADRACE_STATE_DIR to another folder"
                )
            self._supervisor.write_pid()
        except OSError as error:
            raise StackError(
                f"cannot write the state folder {state.path} ({error.strerror}): make it writable or set HEADRACE_STATE_DIR to another"
            ) from error
        try:
            check_room(state)
            if not await self._parts.take_within(0.0):
                await self._end_leftovers(say)
            empty(state.temporary)
        except BaseException:
            self.release()
            raise

    async def _end_leftovers(self, say: Say) -> None:
        """An earlier supervisor was killed and its parts are still ending; without their warden they are ended here."""
        say("an earlier stack in this folder was killed: waiting for its last processes to end")
        if await self._parts.take_within(LEFTOVER_SECONDS):
            return
        kill_leftovers(self._state)
        if not await self._parts.take_within(LEFTOVER_SECONDS):
            raise StackError(
                f"processes of an earlier stack still run in {self._state.path} (`headrace status` shows their pids): end them first"
            )

    def release(self) -> None:
        self._parts.release()
        self._supervisor.release()


def kill_leftovers(state: StateFolder) -> None:
    """Kill the group of an earlier stack.

    Only to be called while a child of it holds the lock: then the group exists and its number cannot be another's.
    """
    snapshot = state.read_snapshot()
    if snapshot is not None and snapshot.group > 1:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(snapshot.group, signal.SIGKILL)


def empty(folder: Path) -> None:
    """Java's compression libraries stay in the temporary folder after a kill."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)


def check_room(state: StateFolder) -> None:
    free = shutil.disk_usage(state.path).free
    if free < LEAST_FREE:
        raise StackError(
            f"the disk of the state folder {state.path} has {free} bytes left and the stack needs {LEAST_FREE}: make room, or set "
            "HEADRACE_STATE_DIR to a folder on another disk"
        )
