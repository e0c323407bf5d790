"""Every part that asks for a secret, in one environment with the right ones and one in which every part refuses them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import asyncpg
import httpx
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from headrace.settings import Settings
from headrace.stack.state import S3_SECRET_ACCESS_KEY
from tests.support.ai_servers import openai_moderation
from tests.support.planted import Planted
from tests.support.postgres import create_database
from tests.support.secure_kafka import USER, SecureKafka, secure_kafka

ROOT = Path(__file__).parents[2]
_FILES = (
    *("HEADRACE_KAFKA_SASL_PASSWORD", "HEADRACE_DATABASE_URL", "HEADRACE_SCHEMA_REGISTRY_URL", "HEADRACE_LEARNING_RESOURCES_URL"),
    "OPENAI_API_KEY",
)


@dataclass(frozen=True)
class World:
    planted: Planted
    """Those that are right; where every part refuses them they are `refused`."""
    refused: Planted
    broker: SecureKafka
    right: dict[str, str]
    """Environment variables; some of the secrets are files."""
    wrong: dict[str, str]
    oauth: dict[str, str]
    """What differs from `wrong` where tokens are asked for."""


@contextlib.asynccontextmanager
async def secret_world(settings: Settings, registry: str, postgres: Path, folder: Path) -> AsyncIterator[World]:
    """`settings`: a test's own names on the shared stack, whose Temporal and S3 these are."""
    planted = Planted.everywhere()
    planted.cores["s3_secret_access_key"] = S3_SECRET_ACCESS_KEY
    refused = Planted.everywhere()
    async with (
        secure_kafka(folder / "kafka", password=planted.cores["kafka_sasl_password"]) as broker,
        echoing(registry, planted.secret("schema_registry_url")) as server,
    ):
        role, database = await _role(postgres, planted.secret("database_url"))

        def environment(secrets: Planted) -> dict[str, str]:
            url = f"postgresql+asyncpg://{role}:{quote(secrets.secret('database_url'), safe='')}@/{database}?host={postgres}"
            key = quote(secrets.secret("schema_registry_url"), safe="")
            certificate, private = _client(broker, secrets.secret("kafka_ssl_key_password"))
            return {
                **{f"HEADRACE_{name.upper()}": secrets.secret(name) for name in ("kafka_oauth_client_secret", "s3_secret_access_key")},
                "HEADRACE_KAFKA_BOOTSTRAP_SERVERS": broker.addresses["SASLSSL"],
                "HEADRACE_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
                "HEADRACE_KAFKA_SASL_MECHANISM": "PLAIN",
                "HEADRACE_KAFKA_SASL_USERNAME": USER,
                "HEADRACE_KAFKA_SASL_PASSWORD": secrets.cores["kafka_sasl_password"],
                "HEADRACE_KAFKA_SSL_CA_FILE": str(broker.authority.file),
                "HEADRACE_KAFKA_SSL_CERTIFICATE_FILE": str(certificate),
                "HEADRACE_KAFKA_SSL_KEY_FILE": str(private),
                "HEADRACE_KAFKA_SSL_KEY_PASSWORD": secrets.secret("kafka_ssl_key_password"),
                "HEADRACE_DATABASE_URL": url,
                "HEADRACE_SCHEMA_REGISTRY_URL": server.replace("://", f"://registry:{key}@") + "/registry",
                "HEADRACE_LEARNING_RESOURCES_URL": f"{server}/search?key={quote(secrets.secret('learning_resources_url'), safe='')}",
                "OPENAI_API_KEY": secrets.secret("openai_api_key"),
                "OPENAI_BASE_URL": f"{server}/openai",
                "HF_TOKEN": secrets.secret("huggingface_token"),
                "HEADRACE_HUGGINGFACE_BASE_URL": f"{server}/huggingface",
                "HEADRACE_S3_ENDPOINT_URL": settings.s3_endpoint_url or "",
                "HEADRACE_S3_ACCESS_KEY_ID": settings.s3_access_key_id or "",
                "HEADRACE_S3_BUCKET": settings.s3_bucket,
                "HEADRACE_INGRESS_GROUP": settings.ingress_group,
                "TEMPORAL_ADDRESS": settings.temporal_address,
                "TEMPORAL_NAMESPACE": settings.temporal_namespace,
                "TEMPORAL_API_KEY": secrets.secret("temporal_api_key"),
                "OTEL_EXPORTER_OTLP_ENDPOINT": server,
                "OTEL_EXPORTER_OTLP_HEADERS": f"x-key={quote(secrets.secret('otel_exporter_otlp_headers'), safe='')}",
                "HEADRACE_LOG_LEVEL": "DEBUG",
                "HEADRACE_STATE_DIR": str(folder / "state"),
                "PYTHONPATH": str(ROOT),
            }

        right = {
            **environment(planted),
            "TEMPORAL_TLS": "false",
            "HEADRACE_S3_SECRET_ACCESS_KEY": S3_SECRET_ACCESS_KEY,
            "HEADRACE_SECRETS_DIR": str(folder / "secrets"),
        }
        _into_files(right, folder / "secrets")
        wrong = {
            **environment(refused),
            "HEADRACE_PAYLOAD_KEYS": f"k1:{base64.b64encode(refused.cores['payload_keys'][:32].encode()).decode()}",
        }
        oauth = {"HEADRACE_KAFKA_SASL_MECHANISM": "OAUTHBEARER", "HEADRACE_KAFKA_OAUTH_CLIENT_ID": "headrace"}
        yield World(planted, refused, broker, right, wrong, {**oauth, "HEADRACE_KAFKA_OAUTH_TOKEN_URL": f"{server}/token"})


def _into_files(environment: dict[str, str], folder: Path) -> None:
    folder.mkdir(mode=0o700)
    for variable in _FILES:
        (folder / variable.lower()).write_text(f"{environment.pop(variable)}\n", "utf-8")


def _client(broker: SecureKafka, password: str) -> tuple[Path, Path]:
    """A certificate, and its key under a password."""
    certificate, private = broker.authority.issue(uuid4().hex)
    key = serialization.load_pem_private_key(private.read_bytes(), None)
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password.encode())))
    return certificate, private


async def _role(postgres: Path, password: str) -> tuple[str, str]:
    """A user whose password is asked for, unlike the tests' own, and a database of his."""
    role, database = f"r{uuid4().hex}", f"d{uuid4().hex}"
    await create_database(postgres, database)
    rules = postgres / "data" / "pg_hba.conf"
    rules.write_text(f"local all {role} scram-sha-256\n{rules.read_text()}")
    connection = await asyncpg.connect(host=str(postgres), user="postgres", database="postgres")
    try:
        literal = await connection.fetchval("SELECT quote_literal($1::text)", password)
        await connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD {literal}")
        await connection.execute(f"ALTER DATABASE {database} OWNER TO {role}")
        await connection.execute("SELECT pg_reload_conf()")
    finally:
        await connection.close()
    return role, database


@contextlib.asynccontextmanager
async def echoing(registry: str, key: str) -> AsyncIterator[str]:
    """A server that refuses everybody with what it was sent, but prompts, and a path behind which lies the registry for who has the key."""
    wanted = "Basic " + base64.b64encode(f"registry:{key}".encode()).decode()

    async def answer(request: web.Request) -> web.Response:
        sent = request.headers.get("Authorization", "")
        if request.path.startswith("/registry/") and sent == wanted:
            path = request.raw_path.removeprefix("/registry")
            told = await http.request(request.method, registry + path, content=await request.read(), headers={"Content-Type": _JSON})
            return web.Response(body=told.content, status=told.status_code, content_type="application/json")
        if request.path.endswith("/moderations"):
            return openai_moderation(flagged=False)
        plain = base64.b64decode(sent.partition(" ")[2] + "==").decode("utf-8", "replace") if sent.startswith("Basic") else ""
        said = f"refused: {sent} {plain} {request.raw_path} {dict(request.headers)}"
        return web.json_response({"error": {"message": said, "code": None}, "message": said}, status=401)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


_JSON = "application/vnd.schemaregistry.v1+json"


@contextlib.asynccontextmanager
async def program(environment: Mapping[str, str], log: Path, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m WORDS` while the block runs, then told to end; everything that it says goes to `log`."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", *words),
            env={**os.environ, **environment},
            cwd=log.parent,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 30)
        except TimeoutError:
            process.kill()
            await process.wait()
