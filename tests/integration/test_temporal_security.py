"""Certificates and keys against a Temporal that refuses the wrong ones, and what is said of it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest

from headrace import checks, setup, temporal
from headrace.cli import standing
from headrace.cli.main import main
from headrace.errors import SetupError
from headrace.search_attributes import SEARCH_ATTRIBUTES
from headrace.settings import Settings, SettingsError, load
from headrace.temporal_refusals import NotConnected
from schemas.ids import workflow_id
from schemas.topics import Topics
from tests.support import ingress
from tests.support.authority import Authority
from tests.support.eventually import eventually
from tests.support.ingress import fields, framed
from tests.support.secure_temporal import API_KEY, NO_RIGHT, UNKNOWN_KEY, SecureTemporal, asks_for_key, environment
from tests.support.temporal_namespace import in_namespace_of_its_own

WRONG = "wr0ng-key-7d21"


@dataclass(frozen=True)
class Doors:
    """Ways to one Temporal, each with its lock."""

    tls: SecureTemporal
    mutual: SecureTemporal
    keyed: SecureTemporal
    plain: str
    certificate: tuple[Path, Path]
    """That `mutual` asks for, and its key."""
    foreign: tuple[Path, Path]
    """Of another authority, which no door trusts."""
    other: Authority


@pytest_asyncio.fixture(scope="module")
async def doors(stack_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Doors]:
    folder, plain = tmp_path_factory.mktemp("doors"), stack_environment["TEMPORAL_ADDRESS"]
    own, other = Authority.make(folder / "own"), Authority.make(folder / "other", "another")
    async with (
        SecureTemporal(lambda: plain, own) as tls,
        SecureTemporal(lambda: plain, own, clients=own) as mutual,
        SecureTemporal(lambda: plain, own) as keyed,
    ):
        keyed.refuse = asks_for_key
        yield Doors(tls, mutual, keyed, plain, own.issue("client"), other.issue("client"), other)


@pytest.fixture(autouse=True)
def nothing_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("TEMPORAL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("HEADRACE_STATE_DIR", str(tmp_path / "nothing"))


def given(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return load()


def mutual(doors: Doors, pair: tuple[Path, Path], key: Path | None = None) -> dict[str, str]:
    return environment(doors.mutual, tls_client_cert_path=pair[0], tls_client_key_path=key or pair[1])


def profile(doors: Doors, folder: Path) -> dict[str, str]:
    file = folder / "temporal.toml"
    file.write_text(
        f'[profile.cloud]\naddress = "{doors.mutual.address}"\nnamespace = "default"\n[profile.cloud.tls]\n'
        f'server_ca_cert_path = "{doors.mutual.authority.file}"\n'
        f'client_cert_path = "{doors.certificate[0]}"\nclient_key_path = "{doors.certificate[1]}"\n'
    )
    return {"TEMPORAL_CONFIG_FILE": str(file), "TEMPORAL_PROFILE": "cloud"}


def by_data(doors: Doors) -> dict[str, str]:
    certificate, key = doors.certificate
    return {
        "TEMPORAL_ADDRESS": doors.mutual.address,
        "TEMPORAL_TLS_SERVER_CA_CERT_DATA": doors.mutual.authority.file.read_text(),
        "TEMPORAL_TLS_CLIENT_CERT_DATA": certificate.read_text(),
        "TEMPORAL_TLS_CLIENT_KEY_DATA": key.read_text(),
    }


def key_in_the_secrets(doors: Doors, folder: Path) -> dict[str, str]:
    (folder / "temporal_api_key").write_text(f"{API_KEY}\n")
    return {**environment(doors.keyed), "HEADRACE_SECRETS_DIR": str(folder)}


RIGHT: dict[str, Callable[[Doors, Path], dict[str, str]]] = {
    "TLS": lambda doors, _: environment(doors.tls),
    "TLS by another name": lambda doors, _: {
        **environment(doors.tls, tls_server_name="localhost"),
        "TEMPORAL_ADDRESS": f"127.0.0.1:{doors.tls.port}",
    },
    "mutual TLS": lambda doors, _: mutual(doors, doors.certificate),
    "mutual TLS by data": lambda doors, _: by_data(doors),
    "a profile": profile,
    "an API key": lambda doors, _: environment(doors.keyed, api_key=API_KEY),
    "an API key in the secrets": key_in_the_secrets,
}


@pytest.mark.parametrize("kind", RIGHT)
async def test_the_right_certificates_and_keys_let_in(doors: Doors, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = given(monkeypatch, RIGHT[kind](doors, tmp_path))
    async with asyncio.timeout(20):
        client = await temporal.entered(settings)
    assert client.namespace == "default"
    assert API_KEY not in repr(settings)


REFUSED: dict[str, tuple[Callable[[Doors], dict[str, str]], str]] = {
    "a wrong authority": (
        lambda doors: {**environment(doors.tls), "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(doors.other.file)},
        "TEMPORAL_TLS_SERVER_CA_CERT_PATH",
    ),
    "the system's authorities": (
        lambda doors: {"TEMPORAL_ADDRESS": doors.tls.address, "TEMPORAL_TLS": "true"},
        "TEMPORAL_TLS_SERVER_CA_CERT_PATH",
    ),
    "another host's name": (lambda doors: environment(doors.tls, tls_server_name="temporal.example"), "TEMPORAL_TLS_SERVER_NAME"),
    "verification turned off": (  # for which Python's SDK has no ear
        lambda doors: {
            **environment(doors.tls, tls_disable_host_verification="true"),
            "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(doors.other.file),
        },
        "TEMPORAL_TLS_SERVER_CA_CERT_PATH",
    ),
    "plain text against TLS": (lambda doors: {"TEMPORAL_ADDRESS": doors.tls.address}, r"does it speak TLS \(TEMPORAL_TLS\)"),
    "TLS against plain text": (lambda doors: {**environment(doors.tls), "TEMPORAL_ADDRESS": doors.plain}, "does not speak TLS"),
    "no certificate": (lambda doors: environment(doors.mutual), "TEMPORAL_TLS_CLIENT_CERT_PATH"),
    "a foreign certificate": (lambda doors: mutual(doors, doors.foreign), "TEMPORAL_TLS_CLIENT_CERT_PATH"),
    "another certificate's key": (lambda doors: mutual(doors, doors.certificate, doors.foreign[1]), "TEMPORAL_TLS_CLIENT_KEY_PATH"),
    "no key": (lambda doors: environment(doors.keyed), "TEMPORAL_API_KEY"),
    "a wrong key": (lambda doors: environment(doors.keyed, api_key=WRONG), "TEMPORAL_API_KEY"),
}


@pytest.mark.parametrize("kind", REFUSED)
async def test_the_wrong_ones_are_refused_and_the_variable_is_named(doors: Doors, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variables, named = REFUSED[kind]
    settings = given(monkeypatch, variables(doors))
    async with asyncio.timeout(20):
        with pytest.raises(NotConnected, match=named) as raised:
            await temporal.connect(settings)
    assert WRONG not in str(raised.value)


UNUSABLE: dict[str, tuple[dict[str, str], str]] = {
    "no such file": ({"TEMPORAL_TLS_SERVER_CA_CERT_PATH": "/nowhere/ca.pem"}, "/nowhere/ca.pem"),
    "half a pair": ({"TEMPORAL_TLS_CLIENT_CERT_DATA": "a certificate"}, "TEMPORAL_TLS_CLIENT_KEY_PATH"),
    "no such profile": ({"TEMPORAL_PROFILE": "cloud"}, "TEMPORAL_PROFILE"),
    "no TOML": ({"TEMPORAL_CONFIG_FILE": "temporal.toml"}, "TEMPORAL_CONFIG_FILE"),
}


@pytest.mark.parametrize("kind", UNUSABLE)
async def test_settings_that_cannot_be_used_end_the_process_at_once(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variables, named = UNUSABLE[kind]
    (tmp_path / "temporal.toml").write_text(f'[profile.default]\napi_key = "{API_KEY}\n')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=named) as raised:
        await temporal.connect(given(monkeypatch, variables), lazy=True)
    assert API_KEY not in str(raised.value)


async def test_commands_end_with_4_and_say_what_to_look_at_and_no_key(
    doors: Doors, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stack = {"HEADRACE_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers, "HEADRACE_S3_BUCKET": settings.s3_bucket}
    secret = settings.s3_secret_access_key
    assert secret is not None
    stack |= {"HEADRACE_S3_ENDPOINT_URL": str(settings.s3_endpoint_url), "HEADRACE_S3_ACCESS_KEY_ID": str(settings.s3_access_key_id)}
    stack |= {"HEADRACE_S3_SECRET_ACCESS_KEY": secret.get_secret_value(), "HEADRACE_DATABASE_URL": settings.database_url}
    stack |= {"HEADRACE_TOPIC_PREFIX": settings.topic_prefix, "HEADRACE_ROUTES_FILE": str(settings.routes_file)}
    given(monkeypatch, {**stack, **environment(doors.keyed, api_key=WRONG)})
    for command in (["doctor"], ["setup"], ["explain", str(uuid4())], ["dlq", "progress", f"redrive-{uuid4()}"]):
        code = await asyncio.to_thread(main, command)
        said = capsys.readouterr()
        assert code == 4, (command, said)
        assert "TEMPORAL_API_KEY" in " ".join((said.out + said.err).split()), (command, said)
        assert WRONG not in said.out + said.err


async def test_the_status_says_that_temporal_is_silent_and_where_to_look(
    doors: Doors, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(doors.keyed, api_key=WRONG).items():
        monkeypatch.setenv(name, value)
    said = list(standing.sentences(settings, await standing.asked(settings, [])))
    assert "Temporal does not answer: no word of queues and schedules; `headrace doctor` says why" in said


async def test_the_doctor_names_the_file_that_is_not_there(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_TLS_SERVER_CA_CERT_PATH", "/nowhere/ca.pem")
    found = {finding.check: finding for finding in await checks.all_findings(settings)}
    assert found["temporal"].verdict == "failed"
    assert "/nowhere/ca.pem" in found["temporal"].detail


async def test_a_key_that_is_revoked_holds_records_back_and_dead_letters_none(
    doors: Doors, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await setup.run(settings, lambda _: None)
    for name, value in environment(doors.keyed, api_key=API_KEY).items():
        monkeypatch.setenv(name, value)
    before, after = uuid4(), uuid4()
    async with ingress.running(settings) as task:
        await ingress.send(settings, framed(fields(event_id=before)))
        await eventually(lambda: ingress.all_disposed(settings), timeout=20)
        for answer in (UNKNOWN_KEY, NO_RIGHT):
            doors.keyed.refuse = lambda _method, _metadata, answer=answer: answer  # type: ignore[misc]
            refused = doors.keyed.refused
            await ingress.send(settings, framed(fields(event_id=after)))
            await eventually(lambda refused=refused: doors.keyed.refused > refused + 2, timeout=30)  # type: ignore[misc]
            assert not task.done()
            assert await ingress.lag(settings) > 0
        doors.keyed.refuse = asks_for_key
        await eventually(lambda: ingress.all_disposed(settings), timeout=30)
    client = await temporal.connect(settings)
    for event_id in (before, after):
        await client.get_workflow_handle(workflow_id("image", event_id)).describe()
    assert not await ingress.read_all(settings, Topics(settings.topic_prefix).requests("image") + ".dlq")


@pytest.mark.parametrize("refused", [{"AddSearchAttributes"}, {"AddSearchAttributes", "ListSearchAttributes"}])
@pytest.mark.parametrize("answer", [NO_RIGHT, ("UNIMPLEMENTED", "unknown service")])
async def test_search_attributes_that_only_an_administrator_may_make_are_asked_for_once(
    doors: Doors, settings: Settings, answer: tuple[str, str], refused: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = await in_namespace_of_its_own(settings)
    administrator = await temporal.connect(settings)
    for name, value in environment(doors.tls).items():
        monkeypatch.setenv(name, value)

    def refuse(method: str, _: Any) -> tuple[str, str] | None:
        return answer if method in refused else None

    monkeypatch.setattr(doors.tls, "refuse", refuse)
    asked = r"tcld namespace search-attributes add --namespace \w+ --search-attribute EventId=Keyword"
    with pytest.raises(SetupError, match=asked) as raised:
        await setup.run(settings, lambda _: None)
    assert f"temporal operator search-attribute create -n {settings.temporal_namespace} --type Keyword --name EventId" in str(raised.value)

    await administrator.operator_service.add_search_attributes(
        AddSearchAttributesRequest(namespace=settings.temporal_namespace, search_attributes=dict.fromkeys(SEARCH_ATTRIBUTES, 2))  # type: ignore[arg-type]
    )
    lines: list[str] = []

    async def goes_on() -> bool:  # the server takes a moment to know them
        try:
            await setup.run(settings, lines.append)
        except SetupError:
            return False
        return True

    await eventually(goes_on, timeout=30, interval=0.5)
    assert "search attribute Compensation: there" in lines
    assert "schedule headrace-reconcile: made" in lines
