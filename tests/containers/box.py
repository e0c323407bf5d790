"""One container that a test may kill and start again, and the images that the tests run."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
from pathlib import Path
from typing import Any, Self

import yaml
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network

from tests.support.eventually import eventually

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICE, WORKERS = "headrace-service:tests", "headrace-workers:tests"
LABEL = "headrace.tests"
"""What a killed test run leaves behind: `docker rm -fv $(docker ps -aq --filter label=headrace.tests)`."""

HEALTHY_SECONDS = 120.0
STOP_SECONDS = 30


def pinned(service: str) -> str:
    """The image of docker-compose.yml: versions are pinned in one place."""
    image: str = COMPOSE["services"][service]["image"]
    return image


def build(target: str, tag: str) -> None:
    """Raises `AssertionError` with the end of the build's output."""
    done = subprocess.run(["docker", "build", "--target", target, "--tag", tag, ROOT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"`docker build --target {target}` fails:\n{(done.stdout + done.stderr)[-3000:]}"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Box:
    """A container with its name in the network, and ports that stay the same when it is started again."""

    def __init__(self, network: Network, name: str, image: str, command: list[str] | None = None, **options: Any) -> None:
        self.name = name
        container = DockerContainer(image).with_network(network).with_network_aliases(name)
        self._container = container.with_command(command) if command else container
        # A kernel that is short of memory must not choose a process of the machine's instead.
        self._container.with_kwargs(**{"labels": {LABEL: name}, "mem_limit": "1g", "init": True, **options})

    def environment(self, **variables: str) -> Self:
        self._container.with_envs(**variables)
        return self

    def file(self, host: Path, container: str) -> Self:
        self._container.with_volume_mapping(host, container, "ro")
        return self

    def scratch(self, folder: str) -> Self:
        self._container.with_tmpfs_mount(folder)
        return self

    def port(self, container: int, host: int) -> Self:
        # A tuple is the Docker client's way to say which address; testcontainers has no word for it and would listen on all.
        self._container.ports[str(container)] = ("127.0.0.1", host)  # type: ignore[assignment]
        return self

    async def start(self) -> Self:
        await asyncio.to_thread(self._container.start)
        return self

    async def remove(self) -> None:
        await asyncio.to_thread(self._container.stop)

    async def kill(self) -> None:
        """SIGKILL, as when its machine is gone."""
        await asyncio.to_thread(self._wrapped.kill)

    async def again(self) -> None:
        await asyncio.to_thread(self._wrapped.start)

    async def end(self) -> int:
        """SIGTERM, as a deployment ends it; gives the exit code, 137 when it had to be killed."""
        await asyncio.to_thread(self._wrapped.stop, timeout=STOP_SECONDS)
        return int((await self.state())["ExitCode"])

    async def ended(self) -> int:
        """Waits for one that ends by itself; gives its exit code."""
        return int((await asyncio.to_thread(self._wrapped.wait))["StatusCode"])

    async def state(self) -> dict[str, Any]:
        await asyncio.to_thread(self._wrapped.reload)
        state: dict[str, Any] = self._wrapped.attrs["State"]
        return state

    async def run(self, *command: str) -> tuple[int, str]:
        """A command inside; its exit code and output."""
        code, output = await asyncio.to_thread(self._wrapped.exec_run, list(command))
        return int(code), output.decode()

    async def log(self) -> str:
        text: bytes = await asyncio.to_thread(self._wrapped.logs)
        return text.decode(errors="replace")

    async def healthy(self) -> None:
        """Waits until its image's HEALTHCHECK says so."""

        async def answer() -> bool:
            state = await self.state()
            assert state["Status"] == "running", f"{self.name} has ended with {state['ExitCode']}:\n{(await self.log())[-2000:]}"
            return bool(state["Health"]["Status"] == "healthy")

        await eventually(answer, timeout=HEALTHY_SECONDS, interval=0.5)

    async def answers(self, port: int) -> None:
        """Waits until something inside listens on a port. A connection from outside would be taken by Docker's own proxy."""

        async def open_() -> bool:
            # The images on Alpine have nc and no bash, those on Debian the other.
            code, _ = await self.run("sh", "-c", f"nc -z 127.0.0.1 {port} || bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}'")
            return code == 0

        await eventually(open_, timeout=HEALTHY_SECONDS, interval=0.3)

    @property
    def _wrapped(self) -> Any:
        return self._container.get_wrapped_container()


@contextlib.contextmanager
def network() -> Any:
    # Its reaper would be one more image, of a version that is not ours to pin: the fixtures remove what they start.
    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
    with Network(docker_network_kw={"labels": {LABEL: "network"}}) as made:
        yield made
