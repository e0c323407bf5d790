"""Credentials, rights and TLS against an S3 that refuses the wrong ones, and what is said of it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
import pytest_asyncio
from botocore.exceptions import ClientError
from temporalio.exceptions import ApplicationError

from headrace import check_rights, checks, rights, s3, setup
from headrace.errors import SetupError
from headrace.settings import Settings
from tests.support.authority import Authority
from tests.support.secure_s3 import BUCKET, OWNER, ROLE, SecureS3, secret_of, secure_s3
from workers.analysis.storage import S3Objects
from workers.image.storage import S3Images
from workers.maintenance.logic import Temporary
from workers.maintenance.storage import Bucket, TemporaryObjects

DEPLOY = Path(__file__).parents[2] / "deploy" / "iam"
SHIPPED = {file.stem: json.loads(file.read_text()) for file in DEPLOY.glob("*.json")}
DATA = b"a picture"
SHA256 = hashlib.sha256(DATA).hexdigest()
KEY = f"images/{SHA256}.png"
WRONG = "wr0ng-secret-3e88"


def permitting(action: str, resource: str) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": [action], "Resource": [f"arn:aws:s3:::{resource}"]}
    return {"Version": "2012-10-17", "Statement": [statement]}


@pytest_asyncio.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SecureS3]:
    more = {"reader": permitting("s3:GetObject", f"{BUCKET}/*"), "elsewhere": permitting("s3:*", "another/*")}
    async with secure_s3(tmp_path_factory.mktemp("secure_s3"), {**SHIPPED, **more}) as running:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_CA_BUNDLE", str(running.authority.file))
            await setup._bucket(running.settings("operator"), lambda _: None)
        yield running


@pytest.fixture(autouse=True)
def trusted(server: SecureS3, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of AWS's but the authority. boto3 remembers what it has found, so it begins anew."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(server.authority.file))
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)


def by_variables(_: SecureS3, __: Path) -> dict[str, str]:
    return {"AWS_ACCESS_KEY_ID": "image", "AWS_SECRET_ACCESS_KEY": secret_of("image")}


def by_session(server: SecureS3, _: Path) -> dict[str, str]:
    sts = boto3.client(
        "sts", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=OWNER, aws_secret_access_key=secret_of(OWNER)
    )
    given = sts.assume_role(RoleArn=f"{ROLE}image", RoleSessionName="headrace")["Credentials"]
    names = {"AWS_ACCESS_KEY_ID": "AccessKeyId", "AWS_SECRET_ACCESS_KEY": "SecretAccessKey", "AWS_SESSION_TOKEN": "SessionToken"}
    return {name: str(given[field]) for name, field in names.items()}


def by_profile_with_a_role(server: SecureS3, folder: Path) -> dict[str, str]:
    (folder / "config").write_text(f"[profile worker]\nrole_arn = {ROLE}image\nsource_profile = base\nregion = us-east-1\n")
    (folder / "credentials").write_text(f"[base]\naws_access_key_id = {OWNER}\naws_secret_access_key = {secret_of(OWNER)}\n")
    files = {"AWS_CONFIG_FILE": str(folder / "config"), "AWS_SHARED_CREDENTIALS_FILE": str(folder / "credentials")}
    return {**files, "AWS_PROFILE": "worker", "AWS_ENDPOINT_URL_STS": server.url}


@pytest.mark.parametrize("found", [by_variables, by_session, by_profile_with_a_role])
async def test_without_keys_of_its_own_it_takes_those_of_aws(
    server: SecureS3, found: Callable[[SecureS3, Path], dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in found(server, tmp_path).items():
        monkeypatch.setenv(name, value)
    client = s3.client(server.settings("", s3_access_key_id=None, s3_secret_access_key=None))
    await S3Images(client, BUCKET, 60).put(KEY, DATA, "image/png", SHA256)
    with pytest.raises(ApplicationError, match="PutObject: AccessDenied"):
        await S3Images(client, BUCKET, 60).put("analyses/x", DATA, "image/png", SHA256)
    client.close()


async def test_a_session_without_its_token_is_refused(server: SecureS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**by_session(server, tmp_path), "AWS_SESSION_TOKEN": ""}.items():
        monkeypatch.setenv(name, value)
    client = s3.client(server.settings("", s3_access_key_id=None, s3_secret_access_key=None))
    with pytest.raises(ApplicationError, match="AWS_SESSION_TOKEN") as raised:
        await S3Images(client, BUCKET, 60).put(KEY, DATA, "image/png", SHA256)
    assert raised.value.type == "StorageRefused"
    client.close()


# What is wrong, the code of the activity's error, and the variables that setup, doctor or the activity names.
REFUSED: dict[str, tuple[Callable[[SecureS3], Settings], str, str]] = {
    "a wrong secret": (
        lambda server: server.settings("image", s3_secret_access_key=WRONG),
        "StorageRefused",
        "HEADRACE_S3_SECRET_ACCESS_KEY",
    ),
    "an unknown key": (lambda server: server.settings("nobody"), "StorageRefused", "HEADRACE_S3_ACCESS_KEY_ID"),
    "a key that may only read": (lambda server: server.settings("reader"), "StorageRefused", "HEADRACE_S3_ACCESS_KEY_ID"),
    "a key for another bucket": (lambda server: server.settings("elsewhere"), "StorageRefused", "HEADRACE_S3_ACCESS_KEY_ID"),
    "no key": (
        lambda server: server.settings("", s3_access_key_id=None, s3_secret_access_key=None),
        "StorageRefused",
        "HEADRACE_S3_ACCESS_KEY_ID",
    ),
    "another bucket": (lambda server: server.settings(OWNER, s3_bucket="missing"), "StorageRefused", "HEADRACE_S3_BUCKET"),
    "plain text against TLS": (
        lambda server: server.settings("image", s3_endpoint_url=server.url.replace("https", "http")),
        "StorageUnavailable",
        "HEADRACE_S3_ENDPOINT_URL",
    ),
    "TLS against plain text": (
        lambda server: server.settings("image", s3_endpoint_url=f"https://{server.plain}"),
        "StorageUnavailable",
        "HEADRACE_S3_ENDPOINT_URL",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
async def test_what_is_wrong_is_refused_tried_again_and_told_with_its_variable(server: SecureS3, kind: str) -> None:
    wrong, code, variable = REFUSED[kind]
    settings = wrong(server)
    client = s3.client(settings)
    with pytest.raises(ApplicationError, match=variable) as raised:
        await S3Images(client, settings.s3_bucket, 60).put(KEY, DATA, "image/png", SHA256)
    client.close()
    assert (raised.value.type, raised.value.non_retryable) == (code, False)
    found = [await checks._ask(name, check, settings) for name, check in (("s3", checks._bucket), ("s3 rights", check_rights.s3_rights))]
    assert {finding.verdict for finding in found} <= {"failed", "unreachable"} or kind == "a key that may only read"
    assert found[1].verdict in ("failed", "unreachable")
    assert any(variable in finding.detail for finding in found)
    assert WRONG not in repr([raised.value, found])


@pytest.mark.parametrize("kind", [kind for kind in REFUSED if kind not in ("a key that may only read", "another bucket")])
async def test_setup_ends_with_what_to_look_at(server: SecureS3, kind: str) -> None:
    wrong, _, _ = REFUSED[kind]
    with pytest.raises(SetupError, match=r"HEADRACE_S3_(ACCESS_KEY_ID|ENDPOINT_URL)") as raised:
        await setup._bucket(wrong(server), lambda _: None)
    assert WRONG not in str(raised.value)


@pytest.mark.parametrize("bundle", ["another", "none", "missing"])
async def test_an_authority_that_is_not_trusted_is_refused(
    server: SecureS3, bundle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if bundle == "none":
        monkeypatch.delenv("AWS_CA_BUNDLE")
    else:
        file = Authority.make(tmp_path, "another").file if bundle == "another" else tmp_path / "missing.pem"
        monkeypatch.setenv("AWS_CA_BUNDLE", str(file))
    client = s3.client(server.settings("image"))
    with pytest.raises(ApplicationError, match="AWS_CA_BUNDLE") as raised:
        await S3Images(client, BUCKET, 60).put(KEY, DATA, "image/png", SHA256)
    client.close()
    assert (raised.value.type, raised.value.non_retryable) == ("StorageUnavailable", False)
    assert "AWS_CA_BUNDLE" in (await checks._ask("s3", checks._bucket, server.settings("image"))).detail


async def test_the_image_worker_needs_no_more_than_its_policy(server: SecureS3) -> None:
    client = s3.client(server.settings("image"))
    images = S3Images(client, BUCKET, 60)
    assert await images.head("images/none.png") is None
    await images.put(KEY, DATA, "image/png", SHA256)
    stored = await images.head(KEY)
    assert stored is not None
    assert stored.sha256 == SHA256
    async with httpx.AsyncClient(verify=ssl.create_default_context(cafile=str(server.authority.file)), trust_env=False) as browser:
        assert (await browser.get(await images.url(KEY))).content == DATA
    with pytest.raises(ClientError, match="AccessDenied"):
        client.delete_object(Bucket=BUCKET, Key=KEY)
    client.close()


async def test_the_analysis_worker_needs_no_more_than_its_policy(server: SecureS3, tmp_path: Path) -> None:
    owner, client = s3.client(server.settings(OWNER)), s3.client(server.settings("analysis"))
    owner.put_object(Bucket=BUCKET, Key="uploads/ada/data.csv", Body=b"a,b\n1,2\n")
    objects, file = S3Objects(client, BUCKET, 60), tmp_path / "data"
    await objects.fetch_upload(BUCKET, "uploads/ada/data.csv", file, 1000)
    with pytest.raises(ApplicationError) as raised:
        await objects.fetch_upload(BUCKET, "uploads/ada/none.csv", file, 1000)
    assert raised.value.type == "DatasetNotFound"
    for key in ("tmp/analyses/1/dataset.parquet", "analyses/1/report.html"):
        await objects.put(key, file, "text/plain")
        await objects.fetch(key, file)
    for key in ("uploads/ada/data.csv", KEY):
        with pytest.raises(ApplicationError, match="AccessDenied"):
            await objects.put(key, file, "text/plain")
    owner.close()
    client.close()


async def test_the_maintenance_worker_needs_no_more_than_its_policy(server: SecureS3) -> None:
    owner, client = s3.client(server.settings(OWNER)), s3.client(server.settings("maintenance"))
    owner.put_object(Bucket=BUCKET, Key="tmp/left", Body=b"1")
    bucket = Bucket(client, BUCKET)
    temporary = TemporaryObjects(bucket)
    found = [each for page in [page async for page in temporary.pages()] for each in page]
    assert "tmp/left" in [each.name for each in found]
    await temporary.remove(found)
    assert [page async for page in temporary.pages()] == [[]]
    assert await bucket.get("archive/history/2026-11-25.parquet") is None
    await bucket.put("archive/history/2026-11-25.parquet", DATA)
    assert await bucket.get("archive/history/2026-11-25.parquet") == DATA
    with pytest.raises(ApplicationError, match="AccessDenied") as raised:
        await temporary.remove([Temporary("archive/history/2026-11-25.parquet", 1, datetime.now(UTC) - timedelta(days=1))])
    assert (raised.value.type, raised.value.non_retryable) == ("StorageRefused", False)
    owner.close()
    client.close()


async def test_the_doctor_needs_no_more_than_its_policy(server: SecureS3) -> None:
    settings = server.settings("operator")
    assert (await checks._ask("s3", checks._bucket, settings)).verdict == "ok"
    assert abs(await rights.s3_round_trip(settings)) < 60
    assert await asyncio.to_thread(setup._make_bucket, s3.client(settings), settings) is False
