"""A Kafka broker that refuses the wrong credentials: SASL, TLS and mutual TLS on one node, with certificates made for the test."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # the package exports them without saying so
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from headrace.settings import Settings
from headrace.stack import kafka
from headrace.stack.part import answers
from headrace.stack.ports import LOOPBACK, Ports
from headrace.stack.state import StateFolder
from tests.support.authority import Authority
from tests.support.eventually import eventually

USER, PASSWORD = "app", "app-secret-5f3c"
LISTENERS = {"SASL": "SASL_PLAINTEXT", "SASLSSL": "SASL_SSL", "TLS": "SSL", "MTLS": "SSL"}
_LOGIN = "org.apache.kafka.common.security"
_MECHANISMS = {
    "PLAIN": _LOGIN + '.plain.PlainLoginModule required user_{user}="{password}";',
    "SCRAM-SHA-256": f"{_LOGIN}.scram.ScramLoginModule required;",
    "SCRAM-SHA-512": f"{_LOGIN}.scram.ScramLoginModule required;",
    "OAUTHBEARER": f"{_LOGIN}.oauthbearer.OAuthBearerLoginModule required;",
}


@dataclass(frozen=True)
class SecureKafka:
    addresses: dict[str, str]
    """By listener: PLAINTEXT and those of `LISTENERS`."""
    authority: Authority

    def settings(self, listener: str, **given: object) -> Settings:
        own = {"kafka_bootstrap_servers": self.addresses[listener], "kafka_security_protocol": LISTENERS.get(listener, "PLAINTEXT")}
        return Settings.model_validate({**own, **given})


@contextlib.asynccontextmanager
async def secure_kafka(folder: Path, *, authorizes: bool = False, password: str = PASSWORD) -> AsyncIterator[SecureKafka]:
    """With `authorizes` the user may do nothing but what an ACL permits; the plain listener may do everything."""
    with contextlib.ExitStack() as opened:
        authority = Authority.make(folder / "certificates")
        certificate, _ = authority.issue("broker")
        state = StateFolder(folder / "state")
        state.temporary.mkdir(parents=True)
        chosen = opened.enter_context(contextlib.closing(Ports()))
        ports = {name: chosen.choose(name).port for name in ("kafka", "kafka-controller", *LISTENERS)}
        part = await kafka.prepare(state, ports, lambda _: None)
        addresses = {"PLAINTEXT": part.address or "", **{name: f"{LOOPBACK}:{ports[name]}" for name in LISTENERS}}
        properties = part.folder / "server.properties"
        properties.write_text(
            properties.read_text() + _properties(addresses, ports["kafka-controller"], certificate, authority.file, password)
        )
        if authorizes:
            with properties.open("a") as more:
                more.write("authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\nsuper.users=User:ANONYMOUS\n")
        with (folder / "kafka.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *part.command, env=dict(part.environment), cwd=part.folder, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            await eventually(lambda: _is_up(process, addresses["PLAINTEXT"], folder / "kafka.log"), timeout=60)
            await asyncio.to_thread(_make_users, addresses["PLAINTEXT"], password)
            yield SecureKafka(addresses, authority)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


def _properties(addresses: dict[str, str], controller: int, certificate: Path, authority: Path, password: str) -> str:
    """Of a repeated property the last one counts: these replace the plain broker's."""
    offered = ",".join(f"{name}://{address}" for name, address in addresses.items())
    lines = {
        "listeners": f"{offered},CONTROLLER://{LOOPBACK}:{controller}",
        "advertised.listeners": offered,
        "listener.security.protocol.map": ",".join(
            ["CONTROLLER:PLAINTEXT", "PLAINTEXT:PLAINTEXT", *(f"{name}:{protocol}" for name, protocol in LISTENERS.items())]
        ),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(certificate),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority),
        "listener.name.mtls.ssl.client.auth": "required",
    }
    for listener in ("sasl", "saslssl"):
        lines[f"listener.name.{listener}.sasl.enabled.mechanisms"] = ",".join(_MECHANISMS)
        for mechanism, login in _MECHANISMS.items():
            lines[f"listener.name.{listener}.{mechanism.lower()}.sasl.jaas.config"] = login.format(user=USER, password=password)
    return "".join(f"{name}={value}\n" for name, value in lines.items())


async def _is_up(process: asyncio.subprocess.Process, address: str, log: Path) -> bool:
    assert process.returncode is None, log.read_text()[-3000:]
    async with httpx.AsyncClient() as client:
        return await answers(f"tcp://{address}", client)


def permit(address: str, topic: str, *operations: AclOperation) -> None:
    """Lets the user do this on a topic."""
    admin = AdminClient({"bootstrap.servers": address})
    acls = [
        AclBinding(ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, f"User:{USER}", "*", operation, AclPermissionType.ALLOW)
        for operation in operations
    ]
    for made in admin.create_acls(acls).values():
        made.result(30)


def _make_users(address: str, password: str) -> None:
    """SCRAM users live in the cluster, not in its configuration."""
    admin = AdminClient({"bootstrap.servers": address})
    for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
        user = UserScramCredentialUpsertion(USER, ScramCredentialInfo(mechanism, 4096), password.encode())
        for made in admin.alter_user_scram_credentials([user]).values():
            made.result(30)
