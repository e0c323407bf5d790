"""Authentication and encryption against a broker that refuses the wrong credentials."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
from aiohttp import web
from aiokafka.admin import NewTopic
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from headrace import checks, kafka
from headrace.settings import Settings, SettingsError
from tests.support.authority import Authority
from tests.support.secure_kafka import PASSWORD, USER, SecureKafka, secure_kafka

PLAIN = {"kafka_sasl_mechanism": "PLAIN", "kafka_sasl_username": USER, "kafka_sasl_password": PASSWORD}


@pytest_asyncio.fixture(scope="module")
async def broker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SecureKafka]:
    async with secure_kafka(tmp_path_factory.mktemp("secure")) as running:
        yield running


async def round_trip(settings: Settings) -> None:
    """A record through every kind of client that Headrace makes."""
    topic = f"t{uuid4().hex}"
    async with asyncio.timeout(60):
        admin = kafka.admin(settings)
        try:
            await admin.start()
            await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
        finally:
            await admin.close()
        async with kafka.producer(settings, idempotent=True) as producer:
            await producer.send_and_wait(topic, b"one")
        async with kafka.consumer(settings, topic) as consumer:
            assert (await consumer.getone()).value == b"one"


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize("listener", ["SASL", "SASLSSL"])
async def test_a_password_lets_in_and_a_wrong_one_does_not(broker: SecureKafka, listener: str, mechanism: str) -> None:
    given = {**PLAIN, "kafka_sasl_mechanism": mechanism}
    if listener == "SASLSSL":
        given["kafka_ssl_ca_file"] = str(broker.authority.file)
    await round_trip(broker.settings(listener, **given))
    with pytest.raises(KafkaError):
        await round_trip(broker.settings(listener, **{**given, "kafka_sasl_password": "wrong"}))


async def test_tls_trusts_its_own_authority_and_no_other(broker: SecureKafka, tmp_path: Path) -> None:
    await round_trip(broker.settings("TLS", kafka_ssl_ca_file=broker.authority.file))
    other = Authority.make(tmp_path, "another")
    for ca in (other.file, None):
        with pytest.raises(KafkaError):
            await round_trip(broker.settings("TLS", kafka_ssl_ca_file=ca))


async def test_mutual_tls_asks_for_a_certificate_of_its_authority(broker: SecureKafka, tmp_path: Path) -> None:
    ca = {"kafka_ssl_ca_file": broker.authority.file}
    certificate, key = broker.authority.issue("client")
    await round_trip(broker.settings("MTLS", **ca, kafka_ssl_certificate_file=certificate, kafka_ssl_key_file=key))
    foreign, foreign_key = Authority.make(tmp_path, "another").issue("client")
    for files in ({}, {"kafka_ssl_certificate_file": foreign, "kafka_ssl_key_file": foreign_key}):
        with pytest.raises(KafkaError):
            await round_trip(broker.settings("MTLS", **ca, **files))


async def test_a_certificate_that_is_none_is_told_with_its_setting(broker: SecureKafka, tmp_path: Path) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("no certificate")
    for file in (junk, tmp_path / "missing.pem"):
        with pytest.raises(SettingsError, match="HEADRACE_KAFKA_SSL"):
            kafka.consumer(broker.settings("TLS", kafka_ssl_ca_file=file))


class Tokens:
    """An OAuth server that gives unsecured JSON Web Tokens, which the broker takes, to one client."""

    def __init__(self) -> None:
        self.given = 0
        self.url = ""

    async def token(self, request: web.Request) -> web.Response:
        form = await request.post()
        expected = "Basic " + base64.b64encode(b"headrace:oauth-secret").decode()
        if request.headers.get("Authorization") != expected or form["grant_type"] != "client_credentials":
            return web.json_response({"error": "invalid_client"}, status=401)
        self.given += 1
        now = int(time.time())
        parts = [{"alg": "none"}, {"sub": USER, "iat": now, "exp": now + 3600}]
        token = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts)
        return web.json_response({"access_token": f"{token}.", "token_type": "Bearer", "expires_in": 3600})


@pytest_asyncio.fixture
async def tokens() -> AsyncIterator[Tokens]:
    server, app = Tokens(), web.Application()
    app.router.add_post("/token", server.token)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/token"
    yield server
    await runner.cleanup()


async def test_a_token_lets_in_and_a_wrong_client_gets_none(broker: SecureKafka, tokens: Tokens) -> None:
    oauth = {
        "kafka_sasl_mechanism": "OAUTHBEARER",
        "kafka_oauth_token_url": tokens.url,
        "kafka_oauth_client_id": "headrace",
        "kafka_oauth_client_secret": "oauth-secret",
    }
    await round_trip(broker.settings("SASL", **oauth))
    assert tokens.given >= 1
    with pytest.raises(KafkaError):
        await round_trip(broker.settings("SASL", **{**oauth, "kafka_oauth_client_secret": "wrong"}))


async def test_the_doctor_says_what_to_look_at_and_no_password(broker: SecureKafka) -> None:
    found = {
        finding.check: finding
        for finding in await checks.all_findings(broker.settings("SASL", **{**PLAIN, "kafka_sasl_password": "wr0ng"}))
    }
    assert found["kafka"].verdict == "unreachable"
    assert "PLAIN credentials" in found["kafka"].detail
    assert "wr0ng" not in repr(found)
    plain = broker.settings("PLAINTEXT", kafka_bootstrap_servers=broker.addresses["TLS"])
    found = {finding.check: finding for finding in await checks.all_findings(plain)}
    assert "HEADRACE_KAFKA_SECURITY_PROTOCOL" in found["kafka"].detail


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"kafka_security_protocol": "SASL_SSL"}, "HEADRACE_KAFKA_SASL_MECHANISM"),
        ({"kafka_sasl_mechanism": "PLAIN"}, "HEADRACE_KAFKA_SECURITY_PROTOCOL"),
        (
            {"kafka_security_protocol": "SASL_SSL", "kafka_sasl_mechanism": "PLAIN"},
            "HEADRACE_KAFKA_SASL_USERNAME and HEADRACE_KAFKA_SASL_PASSWORD",
        ),
        ({"kafka_security_protocol": "SASL_SSL", "kafka_sasl_mechanism": "OAUTHBEARER"}, "HEADRACE_KAFKA_OAUTH_TOKEN_URL"),
        ({"kafka_ssl_key_file": "k.pem"}, "HEADRACE_KAFKA_SSL_CERTIFICATE_FILE"),
    ],
)
def test_half_of_the_credentials_are_refused_with_what_is_missing(given: dict[str, str], wanted: str) -> None:
    with pytest.raises(ValidationError, match=wanted):
        Settings.model_validate(given)


def test_a_secret_may_be_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from headrace.settings import load

    (tmp_path / "headrace_kafka_sasl_password").write_text(PASSWORD)
    for name, value in {
        "HEADRACE_STATE_DIR": str(tmp_path),
        "HEADRACE_SECRETS_DIR": str(tmp_path),
        "HEADRACE_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "HEADRACE_KAFKA_SASL_MECHANISM": "PLAIN",
        "HEADRACE_KAFKA_SASL_USERNAME": USER,
    }.items():
        monkeypatch.setenv(name, value)
    found = load()
    assert found.kafka_sasl_password is not None
    assert found.kafka_sasl_password.get_secret_value() == PASSWORD
    assert PASSWORD not in repr(found)
