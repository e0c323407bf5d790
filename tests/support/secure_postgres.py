"""A PostgreSQL on a port that refuses the wrong credentials: TLS, SCRAM passwords, and a user who comes in by a client certificate."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass

import asyncpg
import pytest
from sqlalchemy import URL

from headrace.stack.ports import LOOPBACK, Ports
from tests.support import postgres
from tests.support.authority import Authority

USER, PASSWORD = "headrace", "p@ss/w:rd%5f3c"
CERTIFIED = "certified"
"""A user without a password."""
_HBA = f"""
hostssl all {CERTIFIED} {LOOPBACK}/32 cert
host    all {USER}      {LOOPBACK}/32 scram-sha-256
"""


@dataclass
class SecurePostgres:
    """Made by `secure_postgres`."""

    server: postgres.Server
    port: int
    authority: Authority
    stranger: Authority
    """Another one, which has signed nothing here."""

    def start(self, *, tls: bool = True) -> None:
        files = {name: f"ssl_{name}_file={self.server.folder}/{name}.pem" for name in ("cert", "key", "ca")}
        self.server.start(
            f"listen_addresses={LOOPBACK}", f"port={self.port}", f"ssl={'on' if tls else 'off'}", *(files.values() if tls else ())
        )

    async def create_database(self, name: str) -> None:
        connection = await asyncpg.connect(host=LOOPBACK, port=self.port, user=USER, password=PASSWORD, database="postgres")
        try:
            await connection.execute(f'CREATE DATABASE "{name}"')
            with contextlib.suppress(asyncpg.DuplicateObjectError):
                await connection.execute(f"CREATE ROLE {CERTIFIED} LOGIN")
        finally:
            await connection.close()

    def url(self, name: str, *, host: str = LOOPBACK, user: str = USER, password: str | None = PASSWORD, ssl: str = "verify-full") -> str:
        made = URL.create("postgresql+asyncpg", user, password, host, self.port, name, {"ssl": ssl})
        return made.render_as_string(hide_password=False)


@contextlib.contextmanager
def secure_postgres() -> Iterator[SecurePostgres]:
    with postgres.folder() as folder, contextlib.closing(Ports()) as ports:
        (folder / "password").write_text(PASSWORD)
        folder.chmod(0o755)
        server = postgres.Server(folder, ("-U", USER, "--auth=scram-sha-256", "--pwfile", str(folder / "password")))
        with (server.data / "pg_hba.conf").open("w") as rules:
            rules.write(_HBA)
        authority = Authority.make(folder / "authority")
        certificate, key = authority.issue("server")
        for source, name in ((certificate, "cert"), (key, "key"), (authority.file, "ca")):
            shutil.copy(source, folder / f"{name}.pem")
            server.own(folder / f"{name}.pem")
            (folder / f"{name}.pem").chmod(0o600)
        made = SecurePostgres(server, ports.choose("postgresql").port, authority, Authority.make(folder / "stranger", "stranger"))
        made.start()
        try:
            yield made
        finally:
            server.stop()


@pytest.fixture(scope="session")
def postgresql_with_tls() -> Iterator[SecurePostgres]:
    with secure_postgres() as made:
        yield made
