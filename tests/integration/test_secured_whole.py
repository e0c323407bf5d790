"""Every process and command with certificates, keys from files, and S3 users that may do no more than they need."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from headrace.settings import Settings
from tests.support.authority import Authority
from tests.support.eventually import eventually
from tests.support.secure_s3 import secret_of, secure_s3
from tests.support.secure_temporal import API_KEY, NO_RIGHT, SecureTemporal, asks_for_key, environment
from tests.support.temporal_namespace import in_namespace_of_its_own

DEPLOY = Path(__file__).parents[2] / "deploy" / "iam"


def policy(*names: str) -> dict[str, Any]:
    statements = [statement for name in names for statement in json.loads((DEPLOY / f"{name}.json").read_text())["Statement"]]
    return {"Version": "2012-10-17", "Statement": statements}


POLICIES = {
    "ingress": policy("payloads"),
    "workers": policy("image", "payloads"),
    "notifier": policy("payloads"),
    "operator": policy("operator", "payloads"),
}


class Place:
    """Where the processes run: their variables, and all that they have said."""

    def __init__(self, folder: Path, common: Mapping[str, str]) -> None:
        self.said = ""
        self._folder = folder
        self._common = common

    def variables(self, user: str) -> dict[str, str]:
        """With the secrets in files alone."""
        secrets = self._folder / f"secrets of {user}"
        secrets.mkdir(exist_ok=True)
        (secrets / "temporal_api_key").write_text(API_KEY)
        (secrets / "headrace_s3_secret_access_key").write_text(secret_of(user))
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("TEMPORAL_", "HEADRACE_", "AWS_"))}
        return {**kept, **self._common, "HEADRACE_SECRETS_DIR": str(secrets), "HEADRACE_S3_ACCESS_KEY_ID": user}

    async def headrace(self, *arguments: str, stdin: str = "") -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "headrace.cli.main", *arguments),
            env=self.variables("operator"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(90):
            out, err = await process.communicate(stdin.encode())
        self.said += (out + err).decode()
        return process.returncode or 0, out.decode()

    @contextlib.asynccontextmanager
    async def running(self, name: str) -> AsyncIterator[None]:
        """A service; it ends well when it is told to."""
        with self._log(name).open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", name), env=self.variables(name), stdout=asyncio.subprocess.DEVNULL, stderr=file
            )
        try:
            yield
        finally:
            if process.returncode is None:
                process.terminate()
            code = await asyncio.wait_for(process.wait(), 30)
            self.said += self._log(name).read_text()
        assert code == 0, self.said

    async def says(self, name: str, word: str) -> str:
        """All that a service has said, once the word is in it."""
        await eventually(lambda: word in self._log(name).read_text(), timeout=60)
        return self._log(name).read_text()

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"


@contextlib.asynccontextmanager
async def secured(settings: Settings, folder: Path) -> AsyncIterator[tuple[Place, SecureTemporal]]:
    authority = Authority.make(folder / "temporal")
    certificate, key = authority.issue("client")
    async with SecureTemporal(lambda: settings.temporal_address, authority, clients=authority) as door, secure_s3(folder, POLICIES) as s3:
        door.refuse = asks_for_key
        common = {
            **environment(door, namespace=settings.temporal_namespace, tls_client_cert_path=certificate, tls_client_key_path=key),
            "TEMPORAL_CONFIG_FILE": os.devnull,
            "AWS_CA_BUNDLE": str(s3.authority.file),
            "HEADRACE_STATE_DIR": str(folder / "nothing"),
            "HEADRACE_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
            "HEADRACE_TOPIC_PREFIX": settings.topic_prefix,
            "HEADRACE_INGRESS_GROUP": settings.ingress_group,
            "HEADRACE_ROUTES_FILE": str(settings.routes_file),
            "HEADRACE_DATABASE_URL": settings.database_url,
            "HEADRACE_S3_ENDPOINT_URL": s3.url,
            "HEADRACE_S3_BUCKET": "headrace",
            "HEADRACE_PAYLOAD_S3_BYTES": "1024",
        }
        yield Place(folder, common), door


def only_connects(method: str, _: Mapping[str, str]) -> tuple[str, str] | None:
    """As a server with an authorizer does: it connects with anybody, and refuses every call after that."""
    return None if method == "GetSystemInfo" else NO_RIGHT


async def test_services_that_are_refused_wait_until_they_are_let_in_and_an_event_goes_the_whole_way(
    settings: Settings, tmp_path: Path
) -> None:
    settings = await in_namespace_of_its_own(settings)
    async with secured(settings, tmp_path) as (place, door):
        assert (await place.headrace("setup"))[0] == 0, place.said
        door.refuse = only_connects
        async with place.running("ingress"), place.running("workers"), place.running("notifier"):
            for name in ("workers", "notifier"):
                assert "TEMPORAL_API_KEY" in await place.says(name, "waiting_for")
            door.refuse, door.refused = asks_for_key, 0
            request = {"user_id": "ada", "prompt": "A mill. " * 300, "backend": "local"}  # larger than what lies in Temporal
            code, event_id = await place.headrace("produce", "ImageGenerationRequested", "--json", "-", stdin=json.dumps(request))
            assert code == 0, place.said
            code, completion = await place.headrace("completions", "image", "--event-id", event_id.strip(), "--follow", "--json")
            assert code == 0, place.said
            assert json.loads(completion)["status"] == "SUCCEEDED", completion
            code, facts = await place.headrace("explain", event_id.strip(), "--json")
            assert code == 0, place.said
            assert {json.loads(line)["what"] for line in facts.splitlines()} >= {"run_started", "run_ended", "completion_published"}
            _, findings = await place.headrace("doctor", "--json")
            verdicts = {finding["check"]: finding["verdict"] for finding in map(json.loads, findings.splitlines())}
            asked = ("temporal", "temporal rights", "search attributes", "schedules", "task queues", "s3", "s3 rights")
            assert {verdicts[check] for check in asked} == {"ok"}, findings
        assert door.refused == 0
        assert not [secret for secret in (API_KEY, *map(secret_of, POLICIES)) if secret in place.said]
