"""Kafka's jars: which ones, pinned in `kafka.lock`, and how they come into the cache.

Each is checked against its SHA-256 when it is downloaded and against its size at every start; one that is missing or has another
size is fetched again. Two processes that need them at once take turns.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import ssl
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import certifi
import httpx

from headrace.stack.errors import StackError
from headrace.stack.lock import FileLock

KAFKA_VERSION = "4.3.1"
AT_ONCE = 6
TRIES = 3
LOCK_SECONDS = 600.0
MEBIBYTE = 1024 * 1024

Say = Callable[[str], None]


@dataclass(frozen=True)
class Jar:
    """One line of `kafka.lock`."""

    group: str
    artifact: str
    version: str
    sha256: str
    size: int

    @property
    def name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"

    @property
    def address(self) -> str:
        """Below a Maven repository."""
        return f"{self.group.replace('.', '/')}/{self.artifact}/{self.version}/{self.name}"


def parse_lock(text: str) -> tuple[Jar, ...]:
    """The jars of a lock file: `group:artifact:version  sha256  bytes`, in the order of the class path."""
    jars = []
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            coordinates, sha256, size = line.split()
            group, artifact, version = coordinates.split(":")
            jars.append(Jar(group, artifact, version, sha256, int(size)))
    return tuple(jars)


def pinned_jars() -> tuple[Jar, ...]:
    return parse_lock(resources.files("headrace.stack").joinpath("kafka.lock").read_text("utf-8"))


def cache_folder() -> Path:
    """`${XDG_CACHE_HOME:-~/.cache}/headrace/kafka-VERSION`."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().absolute() / "headrace" / f"kafka-{KAFKA_VERSION}"


def missing(jars: Sequence[Jar], folder: Path) -> list[Jar]:
    """Those that are not there with their size."""

    def is_there(jar: Jar) -> bool:
        try:
            return (folder / jar.name).stat().st_size == jar.size
        except OSError:
            return False

    return [jar for jar in jars if not is_there(jar)]


async def ensure_jars(say: Say, folder: Path, jars: Sequence[Jar] | None = None, repository: str | None = None) -> list[Path]:
    """The class path of Kafka, fetched first where needed; raises `StackError` when that cannot be done."""
    wanted = pinned_jars() if jars is None else jars
    if missing(wanted, folder):
        try:
            lock = _lock(folder)
            if not await lock.take_within(LOCK_SECONDS):
                raise StackError(f"another process has been fetching Kafka into {folder} for {LOCK_SECONDS:.0f} s: end it and try again")
        except OSError as error:
            raise StackError(
                f"cannot write the cache folder {folder} ({error.strerror}): make it writable or set XDG_CACHE_HOME"
            ) from error
        try:
            if lacking := missing(wanted, folder):
                await Download(folder, repository or _maven_central(), say).run(lacking)
        finally:
            lock.release()
    return [folder / jar.name for jar in wanted]


def _lock(folder: Path) -> FileLock:
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / "fetch.lock")


def _maven_central() -> str:
    from jgo.constants import MAVEN_CENTRAL_URL  # slow to import, and only needed the first time

    return MAVEN_CENTRAL_URL


def tls_context() -> ssl.SSLContext:
    """The system's certificate authorities (or SSL_CERT_FILE's), and certifi's for a system without any."""
    context = ssl.create_default_context()
    if not context.cert_store_stats()["x509_ca"]:
        context.load_verify_locations(certifi.where())
    return context


class Download:
    """Fetches jars into a folder, several at once, with one progress bar on a terminal."""

    def __init__(self, folder: Path, repository: str, say: Say) -> None:
        self._folder = folder
        self._repository = repository.rstrip("/")
        self._say = say
        self._advance: Callable[[int], None] = lambda _: None

    async def run(self, jars: Sequence[Jar]) -> None:
        total = sum(jar.size for jar in jars)
        title = f"fetching Apache Kafka {KAFKA_VERSION} once: {len(jars)} files, {total / MEBIBYTE:.0f} MiB"
        if not sys.stdout.isatty():
            self._say(f"{title}, into {self._folder}")
            await self._fetch_all(jars)
            return
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        with Progress(TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()) as progress:
            task = progress.add_task(title, total=total)
            self._advance = lambda count: progress.advance(task, count)
            await self._fetch_all(jars)

    async def _fetch_all(self, jars: Sequence[Jar]) -> None:
        waiting = sorted(jars, key=lambda jar: jar.size)
        timeout = httpx.Timeout(20.0)

        async def take_turns(client: httpx.AsyncClient) -> None:
            while waiting:
                await self._fetch(client, waiting.pop())

        async with httpx.AsyncClient(verify=tls_context(), timeout=timeout, follow_redirects=True) as client:
            tasks = [asyncio.create_task(take_turns(client)) for _ in range(AT_ONCE)]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _fetch(self, client: httpx.AsyncClient, jar: Jar) -> None:
        address = f"{self._repository}/{jar.address}"
        for attempt in range(1, TRIES + 1):
            try:
                await self._fetch_once(client, jar, address)
            except httpx.HTTPStatusError as error:
                failure = f"the answer to {address} was {error.response.status_code} {error.response.reason_phrase}"
            except httpx.HTTPError as error:
                failure = str(error) or type(error).__name__
            except OSError as error:
                raise self._cannot_write(error) from error
            else:
                return
            if attempt == TRIES:
                raise StackError(
                    f"cannot fetch {jar.name} ({failure}): the embedded Kafka needs network access to Maven Central once, so connect and "
                    f"try again (HTTPS_PROXY and SSL_CERT_FILE are honoured), or copy the folder {self._folder} from a machine that has it"
                )
            await asyncio.sleep(0.2 * attempt)

    async def _fetch_once(self, client: httpx.AsyncClient, jar: Jar, address: str) -> None:
        temporary = self._folder / f"{jar.name}.part"
        digest, received = hashlib.sha256(), 0
        try:
            async with client.stream("GET", address) as response:
                response.raise_for_status()
                with temporary.open("wb") as file:
                    async for chunk in response.aiter_bytes():
                        file.write(chunk)
                        digest.update(chunk)
                        received += len(chunk)
                        self._advance(len(chunk))
            if digest.hexdigest() != jar.sha256:
                raise StackError(
                    f"{jar.name} from {address} is not the pinned file (SHA-256 expected {jar.sha256}, got {digest.hexdigest()}, "
                    f"{received} bytes) and was thrown away: see whether a proxy changes downloads, and do not use it otherwise"
                )
            temporary.replace(self._folder / jar.name)
        except BaseException:
            self._advance(-received)
            temporary.unlink(missing_ok=True)
            raise

    def _cannot_write(self, error: OSError) -> StackError:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return StackError(
                f"the disk of {self._folder} is full: Kafka's files need 50 MiB there, so make room or set XDG_CACHE_HOME to another disk"
            )
        return StackError(f"cannot write into {self._folder} ({error.strerror}): make it writable or set XDG_CACHE_HOME")
