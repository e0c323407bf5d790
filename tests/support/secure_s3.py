"""An S3 that speaks TLS alone and gives each of its users what a policy permits, also for a while by a role."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from headrace.settings import Settings
from headrace.stack import s3
from headrace.stack.part import OK
from headrace.stack.ports import Ports
from headrace.stack.state import StateFolder
from tests.support.authority import Authority
from tests.support.eventually import eventually

OWNER = "owner"
BUCKET = "headrace"
ROLE = "arn:aws:iam::000000000000:role/"
"""With the name of a policy behind it: whoever has a key may take it."""

Policy = Mapping[str, Any]


def secret_of(user: str) -> str:
    return f"{user}-secret-b19c"


@dataclass(frozen=True)
class SecureS3:
    url: str
    plain: str
    """The address of another server of it, which knows no TLS."""
    authority: Authority

    def settings(self, user: str, **given: object) -> Settings:
        own = {"s3_endpoint_url": self.url, "s3_bucket": BUCKET, "s3_access_key_id": user, "s3_secret_access_key": secret_of(user)}
        return Settings.model_validate({**own, **given})


@contextlib.asynccontextmanager
async def secure_s3(folder: Path, policies: Mapping[str, Policy]) -> AsyncIterator[SecureS3]:
    """`OWNER` may do everything; each policy has a user and a role of its name."""
    authority = Authority.make(folder / "certificates")
    certificate, key = authority.issue("s3")
    state = StateFolder(folder / "state")
    state.temporary.mkdir(parents=True)
    with contextlib.closing(Ports()) as chosen:
        ports = {name: chosen.choose(name).port for name in s3.PORTS}
    part = s3.prepare(state, ports)
    users, roles = folder / "users.json", folder / "roles.json"
    users.write_text(json.dumps(_users(policies)))
    roles.write_text(json.dumps(_roles(policies)))
    options = (
        *(f"-s3.cert.file={certificate}", f"-s3.key.file={key}", f"-s3.config={users}", f"-s3.iam.config={roles}"),
        "-s3.autoCreateBucket=false",  # no other S3 makes a bucket for whoever writes to it
    )
    own = {name: value for name, value in part.environment.items() if not name.startswith("AWS_")}
    with (folder / "s3.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *part.command, *options, env=own, cwd=part.folder, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
        )
    url = f"https://127.0.0.1:{ports['s3']}"
    try:
        async with httpx.AsyncClient(verify=ssl.create_default_context(cafile=str(authority.file)), trust_env=False) as client:

            async def is_up() -> bool:
                assert process.returncode is None, (folder / "s3.log").read_text()[-3000:]
                with contextlib.suppress(httpx.HTTPError):
                    return all([(await client.get(each)).status_code == OK for each in (part.ready[0], f"{url}/healthz")])
                return False

            await eventually(is_up, timeout=60)
        yield SecureS3(url, f"127.0.0.1:{ports['s3-filer']}", authority)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _users(policies: Mapping[str, Policy]) -> dict[str, Any]:
    def user(name: str, **rights: list[str]) -> dict[str, Any]:
        return {"name": name, "credentials": [{"accessKey": name, "secretKey": secret_of(name)}], **rights}

    return {
        "identities": [user(OWNER, actions=["Admin"]), *(user(name, policyNames=[name]) for name in policies)],
        "policies": [{"name": name, "content": json.dumps(policy)} for name, policy in policies.items()],
    }


def _roles(policies: Mapping[str, Policy]) -> dict[str, Any]:
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": ["sts:AssumeRole"]}]}
    return {
        "sts": {
            "tokenDuration": "1h",
            "maxSessionLength": "12h",
            "issuer": "seaweedfs-sts",
            "signingKey": base64.b64encode(b"of this test alone, 32 bytes long").decode(),
        },
        "policy": {"defaultEffect": "Deny", "storeType": "memory"},
        "policies": [{"name": name, "document": policy} for name, policy in policies.items()],
        "roles": [{"roleName": name, "roleArn": f"{ROLE}{name}", "trustPolicy": trust, "attachedPolicies": [name]} for name in policies],
    }
