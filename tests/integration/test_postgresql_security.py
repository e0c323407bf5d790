"""PostgreSQL with TLS and passwords: what is right gets in, what is wrong is refused and told so that somebody can mend it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

import pytest
import pytest_asyncio
from sqlalchemy import text

from headrace import checks, setup
from headrace.errors import SetupError
from headrace.settings import Settings
from headrace.store import migrate
from headrace.store.engine import engine_of
from tests.support.secure_postgres import CERTIFIED, PASSWORD, USER, SecurePostgres

_SESSION = "SELECT ssl, application_name, usename FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE pid = pg_backend_pid()"


@pytest.fixture(autouse=True)
def _no_variables_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGSSLMODE", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY", "PGPASSWORD"):
        monkeypatch.delenv(name, raising=False)


@dataclass(frozen=True)
class Place:
    server: SecurePostgres
    database: str

    def settings(self, **changed: str | None) -> Settings:
        return Settings(database_url=self.server.url(self.database, **changed))  # type: ignore[arg-type] # the fields of a URL


@pytest_asyncio.fixture
async def place(postgresql_with_tls: SecurePostgres) -> Place:
    name = f"t{uuid4().hex[:12]}"
    await postgresql_with_tls.create_database(name)
    return Place(postgresql_with_tls, name)


async def _session(settings: Settings) -> tuple[bool, str, str]:
    database = engine_of(settings, "ingress")
    try:
        async with database.connect() as connection:
            ssl, name, user = (await connection.execute(text(_SESSION))).one()
            return ssl, name, user
    finally:
        await database.dispose()


async def test_a_connection_is_encrypted_and_says_whose_it_is(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSSLROOTCERT", str(place.server.authority.file))
    for host in ("127.0.0.1", "localhost"):
        assert await _session(place.settings(host=host)) == (True, "headrace-ingress", USER)


async def test_a_user_comes_in_by_a_client_certificate(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = place.server.authority.issue(CERTIFIED)
    monkeypatch.setenv("PGSSLROOTCERT", str(place.server.authority.file))
    monkeypatch.setenv("PGSSLCERT", str(certificate))
    monkeypatch.setenv("PGSSLKEY", str(key))
    assert await _session(place.settings(user=CERTIFIED, password=None)) == (True, "headrace-ingress", CERTIFIED)


async def test_tables_are_made_over_tls_by_the_libpq_variables_alone(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a URL without parameters, which `make secrets` draws, is given TLS."""
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    monkeypatch.setenv("PGSSLROOTCERT", str(place.server.authority.file))
    settings = place.settings()
    settings = settings.model_copy(update={"database_url": settings.database_url.partition("?")[0]})
    said: list[str] = []
    await setup._tables(settings, said.append)
    assert said == [
        f"tables in postgresql+asyncpg://{USER}:***@127.0.0.1:{place.server.port}/{place.database}: made, revision {migrate.newest()}"
    ]


Wrong = Callable[[Place, pytest.MonkeyPatch], Settings]


def _password(place: Place, _: pytest.MonkeyPatch) -> Settings:
    return place.settings(password="another")


def _user(place: Place, _: pytest.MonkeyPatch) -> Settings:
    return place.settings(user="nobody")


def _database(place: Place, _: pytest.MonkeyPatch) -> Settings:
    return Place(place.server, "elsewhere").settings()


def _authority(place: Place, patch: pytest.MonkeyPatch) -> Settings:
    patch.setenv("PGSSLROOTCERT", str(place.server.stranger.file))
    return place.settings()


def _no_authority(place: Place, patch: pytest.MonkeyPatch) -> Settings:
    patch.setenv("PGSSLROOTCERT", str(place.server.server.folder / "nothing.pem"))
    return place.settings()


def _host(place: Place, _: pytest.MonkeyPatch) -> Settings:
    return place.settings(host="127.1")  # another name of loopback, for which the certificate is not


def _no_certificate(place: Place, _: pytest.MonkeyPatch) -> Settings:
    return place.settings(user=CERTIFIED, password=None)


def _strange_certificate(place: Place, patch: pytest.MonkeyPatch) -> Settings:
    certificate, key = place.server.stranger.issue(CERTIFIED)
    patch.setenv("PGSSLCERT", str(certificate))
    patch.setenv("PGSSLKEY", str(key))
    return place.settings(user=CERTIFIED, password=None)


WRONG: list[tuple[Wrong, str]] = [
    (_password, "another password"),
    (_user, "HEADRACE_DATABASE_URL"),
    (_database, "a database that is not there"),
    (_authority, "PGSSLROOTCERT"),
    (_no_authority, "PGSSLROOTCERT"),
    (_host, "the host that the certificate is for"),
    (_no_certificate, "PGSSLCERT"),
    (_strange_certificate, "PGSSLCERT"),
]


@pytest.mark.parametrize(("wrong", "hint"), WRONG, ids=[each[0].__name__[1:] for each in WRONG])
async def test_the_wrong_credentials_are_refused_and_told_without_the_password(
    place: Place, monkeypatch: pytest.MonkeyPatch, wrong: Wrong, hint: str
) -> None:
    monkeypatch.setenv("PGSSLROOTCERT", str(place.server.authority.file))
    await _is_told(wrong(place, monkeypatch), hint)


async def test_a_server_without_tls_is_refused_when_tls_is_asked_for(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSSLROOTCERT", str(place.server.authority.file))
    place.server.server.stop()
    place.server.start(tls=False)
    try:
        await _is_told(place.settings(), "this server has none")
        await _is_told(place.settings(ssl="require"), "this server has none")
        assert await _session(place.settings(ssl="disable")) == (False, "headrace-ingress", USER)
    finally:
        place.server.server.stop()
        place.server.start()


async def _is_told(settings: Settings, hint: str) -> None:
    """`headrace setup`, `headrace doctor` and a service say the same, and name the setting."""
    with pytest.raises(SetupError) as refused:
        await setup._tables(settings, lambda _: None)
    findings = [await checks._ask(name, check, settings) for name, check in (("database", checks._database),)]
    assert [finding.verdict for finding in findings] == ["unreachable"]
    database = engine_of(settings, "notifier")
    with pytest.raises(OSError, match="HEADRACE_DATABASE_URL") as waits:
        await migrate.usable(database)
    await database.dispose()
    for said in (str(refused.value), findings[0].detail, str(waits.value)):
        assert hint in said
        assert "HEADRACE_DATABASE_URL" in said
        assert not any(secret in said for secret in (PASSWORD, "p%40ss", "another:", "5f3c"))
