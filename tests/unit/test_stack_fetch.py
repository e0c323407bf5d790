"""Fetching Kafka's jars, from a small HTTP server that stands for the repository."""

import asyncio
import errno
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from headrace.stack.errors import StackError
from headrace.stack.fetch import Jar, ensure_jars, parse_lock, pinned_jars

CONTENT = {"one": b"1" * 100_000, "two": b"2" * 5_000}


def jar(artifact: str, content: bytes) -> Jar:
    return Jar("org.example", artifact, "1.0", hashlib.sha256(content).hexdigest(), len(content))


JARS = tuple(jar(artifact, content) for artifact, content in CONTENT.items())


class Repository(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {f"/{jar(artifact, content).address}": content for artifact, content in CONTENT.items()}
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Repository

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        content = self.server.files.get(self.path)
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *arguments: object) -> None:
        """Stay quiet."""


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


@pytest.fixture
def repository() -> Iterator[Repository]:
    with Repository() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


async def test_all_are_fetched_once_and_not_again(repository: Repository, tmp_path: Path) -> None:
    lines: list[str] = []
    paths = await ensure_jars(lines.append, tmp_path / "cache", JARS, repository.address)
    assert [path.read_bytes() for path in paths] == list(CONTENT.values())
    assert len(lines) == 1
    await ensure_jars(lines.append, tmp_path / "cache", JARS, repository.address)
    assert len(repository.asked) == len(JARS)
    assert len(lines) == 1


async def test_a_truncated_file_is_fetched_again(repository: Repository, tmp_path: Path) -> None:
    paths = await ensure_jars(print, tmp_path, JARS, repository.address)
    paths[1].write_bytes(b"2")
    await ensure_jars(print, tmp_path, JARS, repository.address)
    assert paths[1].read_bytes() == CONTENT["two"]
    assert len(repository.asked) == len(JARS) + 1


async def test_a_changed_file_is_refused_with_both_checksums_and_not_kept(repository: Repository, tmp_path: Path) -> None:
    repository.files[f"/{JARS[0].address}"] = b"x" * JARS[0].size
    with pytest.raises(StackError) as raised:
        await ensure_jars(print, tmp_path, JARS, repository.address)
    text = str(raised.value)
    assert "one-1.0.jar" in text
    assert JARS[0].sha256 in text
    assert hashlib.sha256(b"x" * JARS[0].size).hexdigest() in text
    assert not {"one-1.0.jar", "one-1.0.jar.part"} & set(names(tmp_path))


async def test_without_network_the_sentence_names_the_folder_to_copy(repository: Repository, tmp_path: Path) -> None:
    address = repository.address
    repository.server_close()
    with pytest.raises(StackError, match="needs network access to Maven Central once") as raised:
        await ensure_jars(print, tmp_path, JARS, address)
    assert str(tmp_path) in str(raised.value)


async def test_an_answer_that_is_not_the_file_names_its_status(repository: Repository, tmp_path: Path) -> None:
    repository.files.clear()
    with pytest.raises(StackError, match="404"):
        await ensure_jars(print, tmp_path, JARS, repository.address)


async def test_a_full_disk_is_named(repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(StackError, match="is full"):
        await ensure_jars(print, tmp_path, JARS, repository.address)


async def test_a_cache_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StackError, match="XDG_CACHE_HOME"):
        await ensure_jars(print, tmp_path / "file" / "cache", JARS, "http://127.0.0.1:9")


async def test_two_first_runs_at_once_fetch_each_file_once(repository: Repository, tmp_path: Path) -> None:
    await asyncio.gather(*(ensure_jars(print, tmp_path, JARS, repository.address) for _ in range(3)))
    assert len(repository.asked) == len(JARS)
    assert names(tmp_path) == ["fetch.lock", "one-1.0.jar", "two-1.0.jar"]


def test_the_shipped_lock_pins_every_jar() -> None:
    jars = pinned_jars()
    assert len({found.name for found in jars}) == len(jars) == 46
    assert all(len(found.sha256) == 64 and found.size > 0 for found in jars)
    assert "kafka_2.13-4.3.1.jar" in {found.name for found in jars}


def test_comments_and_blank_lines_of_a_lock_are_skipped() -> None:
    assert parse_lock("# a comment\n\norg.example:one:1.0  abc  3\n") == (Jar("org.example", "one", "1.0", "abc", 3),)
