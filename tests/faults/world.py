"""What the runs share: a stack of the suite's own, whose parts may be killed, and the proxies before Temporal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from headrace import temporal
from headrace.settings import Settings
from headrace.stack import control, supervised
from headrace.stack.part import answers, local_client
from headrace.stack.supervisor import Stack
from tests.support import postgres
from tests.support.eventually import eventually
from tests.support.tcp_proxy import TcpProxy
from tests.support.temporal_proxy import TemporalProxy


@dataclass
class Postgres:
    """Started for the first run that wants it."""

    folder: Path | None = None
    network: TcpProxy | None = None


@dataclass(frozen=True)
class World:
    """A running stack; an ingress reaches its Temporal through `network` and then `calls`."""

    folder: Path
    environment: dict[str, str]
    network: TcpProxy
    calls: TemporalProxy
    temporal: Client
    """Past the proxies."""
    opened: contextlib.AsyncExitStack
    database: Postgres

    def pid(self, part: str) -> int | None:
        return {state.part: state.pid for state in control.read_state(self.folder)}[part]

    async def hit(self, part: str, number: signal.Signals) -> None:
        """A signal to a part; the supervisor starts it again when it ends."""
        if (pid := self.pid(part)) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    async def pause(self, part: str, seconds: float) -> None:
        pid = self.pid(part)
        if pid is None:
            return
        try:
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(seconds)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    async def postgresql(self, name: str) -> tuple[str, str]:
        """A new database: its URL, and its URL behind a proxy."""
        if self.database.folder is None or self.database.network is None:
            server = postgres.server()
            self.database.folder = await asyncio.to_thread(server.__enter__)
            self.opened.callback(server.__exit__, None, None, None)
            proxy = TcpProxy.to_socket(f"{self.database.folder}/.s.PGSQL.5432")
            self.database.network = await self.opened.enter_async_context(proxy)
        url = await postgres.create_database(self.database.folder, name)
        return url, f"postgresql+asyncpg://postgres@127.0.0.1:{self.database.network.port}/{name}"

    async def heal(self) -> None:
        """Every part answers, nothing is in the way."""
        self.network.heal()
        if self.database.network is not None:
            self.database.network.heal()
        async with local_client() as client:

            async def healthy() -> bool:
                states = [state for state in control.read_state(self.folder) if state.part in ("kafka", "temporal")]
                return all([state.ready and await answers(state.health, client) for state in states])

            await eventually(healthy, timeout=60)

    def settings(self, name: str, database_url: str) -> Settings:
        """Past the proxies."""
        given = {key.lower().removeprefix("headrace_"): value for key, value in self.environment.items()}
        own = {"topic_prefix": f"{name}.", "ingress_group": name, "database_url": database_url}
        return Settings.model_validate({**given, **own})


@contextlib.asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    """Started once for many runs."""
    with pytest.MonkeyPatch.context() as patch:
        # Parts die in every other run here: a supervisor that grows patient would make each of them wait.
        patch.setattr(supervised, "BACKOFF_MOST", 0.4)
        async with Stack(folder, services=False, say=lambda _: None) as stack:
            environment = stack.addresses.environment()
            address = environment["TEMPORAL_ADDRESS"]
            async with (
                contextlib.AsyncExitStack() as opened,
                TemporalProxy(lambda: address) as calls,
                TcpProxy.to_address(lambda: f"127.0.0.1:{calls.port}") as network,
            ):
                given = {key.lower().removeprefix("headrace_"): value for key, value in environment.items()}
                client = await temporal.connect(Settings.model_validate(given))
                yield World(folder, environment, network, calls, client, opened, Postgres())


async def lock_database(store: AsyncEngine, seconds: float) -> None:
    """Holds the ledger as a careless script would: SQLite's one lock for writers, or a lock on the table."""
    if store.dialect.name == "sqlite":
        # Not through the engine, which gives up waiting after a while.
        connection = await asyncio.to_thread(_begin_immediate, str(store.url.database))
        try:
            await asyncio.sleep(seconds)
        finally:
            connection.close()
        return
    async with store.begin() as transaction:
        await transaction.execute(text("LOCK TABLE ledger IN ACCESS EXCLUSIVE MODE"))
        await asyncio.sleep(seconds)


def _begin_immediate(file: str) -> sqlite3.Connection:
    connection = sqlite3.connect(file, timeout=30, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN IMMEDIATE")
    return connection
