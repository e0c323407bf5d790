"""The supervisor: starts the parts side by side, then the services, keeps them running, stops services first and parts last."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from headrace.settings import Settings
from headrace.stack import kafka, s3, temporal, training
from headrace.stack.errors import StackError
from headrace.stack.folder import Claim
from headrace.stack.group import Group
from headrace.stack.part import Part, local_client
from headrace.stack.ports import LOOPBACK, Ports
from headrace.stack.services import PORTS as SERVICE_PORTS
from headrace.stack.services import services
from headrace.stack.state import S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY, Addresses, Snapshot, StateFolder
from headrace.stack.supervised import Supervised, move_aside_if_long

SPOKEN_PORTS = ("kafka", "temporal", "temporal-ui", "s3")


class Stack:
    """The embedded stack of one state folder.

    `async with Stack(folder) as stack` starts everything and stops it at the end; `stack.addresses` says where the parts answer.
    """

    def __init__(self, state_dir: Path, *, services: bool = True, say: Callable[[str], None] = print) -> None:
        self.state = StateFolder(state_dir)
        self._with_services = services
        self._say = say
        self._claim = Claim(self.state)
        self._ports = Ports()
        self._client: httpx.AsyncClient | None = None
        self._group: Group | None = None
        self._running: list[Supervised] = []
        self._addresses: Addresses | None = None
        self._training: asyncio.Task[None] | None = None
        self._ready = False
        self._stopped = asyncio.Event()

    @property
    def addresses(self) -> Addresses:
        if self._addresses is None:
            raise RuntimeError("the stack is not started")
        return self._addresses

    async def start(self) -> Addresses:
        """Start everything; raises `StackError`, with everything stopped again, when that fails."""
        began = time.monotonic()
        await self._claim.take(self._say)
        self.state.forget_running()
        try:
            await self._start_parts()
            if self._with_services:
                await self._start_services()
        except OSError as error:
            await self.stop()
            raise StackError(
                f"the stack in {self.state.path} cannot start ({error}): make that possible (room on the disk, permissions) and try again"
            ) from error
        except BaseException:
            await self.stop()
            raise
        self._ready = True
        self._write_state()
        self._say(f"ready after {time.monotonic() - began:.1f} s: Temporal's UI is at {self.addresses.temporal_ui}")
        if not training.cache_file().exists():
            self._training = asyncio.create_task(self._train(), name="train kafka")
        return self.addresses

    async def run_until_stopped(self) -> None:
        """Return when `stop` has ended everything; what dies until then is started again."""
        await self._stopped.wait()

    async def stop(self) -> None:
        """Stop the services, then the parts, then whatever is left of the group."""
        self._ready = False
        if self._group is None:
            self._release()
            return
        if self._training is not None:
            self._training.cancel()
            await asyncio.gather(self._training, return_exceptions=True)
        for kind in ("service", "part"):
            await asyncio.gather(*(running.stop() for running in self._running if running.part.kind == kind))
        await self._group.close()
        self._group = None
        self._running.clear()
        if self._client is not None:
            await self._client.aclose()
        self.state.forget_running()
        self._release()
        self._stopped.set()

    def kill(self) -> None:
        """End every process of the stack at once, for the impatient."""
        if self._group is not None:
            self._group.kill()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.stop()

    def _release(self) -> None:
        self._ports.close()
        self._claim.release()

    async def _start_parts(self) -> None:
        ports = self._choose_ports()
        self._client = local_client()
        self._group = Group(self._claim.inherited, self._write_state)
        self._addresses = Addresses(
            kafka=f"{LOOPBACK}:{ports['kafka']}",
            temporal=f"{LOOPBACK}:{ports['temporal']}",
            temporal_ui=f"http://{LOOPBACK}:{ports['temporal-ui']}",
            s3=f"http://{LOOPBACK}:{ports['s3']}",
            database=self.state.database,
        )
        await self._group.open()

        async def start_temporal(client: httpx.AsyncClient) -> None:
            await self._start(temporal.prepare(self.state, ports))
            await temporal.keep_thirty_days(temporal.namespace_address(ports), client)

        async def start_kafka() -> None:
            await self._start(await kafka.prepare(self.state, ports, self._say))

        async def start_s3() -> None:
            await self._start(s3.prepare(self.state, ports))

        await _side_by_side([start_s3(), start_temporal(self._client), start_kafka()])
        self.state.write_env(self.addresses.environment())

    async def _start_services(self) -> None:
        from headrace import setup

        await setup.run(self._settings(), self._say)
        await _side_by_side([self._start(part) for part in services(self.state, self.addresses, self._ports.chosen)])

    async def _start(self, part: Part) -> None:
        if self._group is None or self._client is None:
            raise RuntimeError("the stack is stopped")
        log = self.state.logs / f"{part.name}.log"
        move_aside_if_long(log)
        running = Supervised(part, self._group, log, self._client, self._say, self._write_state)
        self._running.append(running)
        await running.start()
        running.keep()

    async def _train(self) -> None:
        if self._group is not None and self._client is not None:
            part = await kafka.prepare_training(self.state, self._ports.chosen, self._say)
            await training.train(part, self._group, self.state.logs / "kafka-training.log", self._client)

    def _choose_ports(self) -> dict[str, int]:
        self._ports = Ports(self.state.read_ports())
        for name in (*kafka.PORTS, *training.PORTS, *temporal.PORTS, *s3.PORTS, *(SERVICE_PORTS if self._with_services else ())):
            choice = self._ports.choose(name)
            if choice.in_use is not None and name in SPOKEN_PORTS:
                self._say(f"port {choice.in_use} is in use: {name} takes {choice.port}")
        self.state.write_ports({**self.state.read_ports(), **self._ports.chosen})
        return self._ports.chosen

    def _settings(self) -> Settings:
        """The settings of a process in this stack; what is given here is stronger than the environment."""
        addresses = self.addresses
        return Settings(
            kafka_bootstrap_servers=addresses.kafka,
            temporal_address=addresses.temporal,
            temporal_namespace="default",
            database_url=addresses.environment()["HEADRACE_DATABASE_URL"],
            s3_endpoint_url=addresses.s3,
            s3_access_key_id=S3_ACCESS_KEY_ID,
            s3_secret_access_key=S3_SECRET_ACCESS_KEY,
        )

    def _write_state(self) -> None:
        parts = tuple(state for running in self._running for state in running.states())
        group = self._group.id if self._group is not None else 0
        self.state.write_snapshot(Snapshot(os.getpid(), group, self._ready, parts))


async def _side_by_side(starts: Iterable[Awaitable[None]]) -> None:
    """Await all; the first failure cancels the others and is raised as it is."""
    tasks = [asyncio.ensure_future(start) for start in starts]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
