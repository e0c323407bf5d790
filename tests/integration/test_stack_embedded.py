"""The embedded stack, really started (without the services): it answers, keeps data, heals, and leaves nothing behind."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import aiokafka
import boto3
import httpx
import pytest
import pytest_asyncio
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from botocore.config import Config

from headrace.stack import control
from headrace.stack.errors import StackError
from headrace.stack.lock import is_locked
from headrace.stack.state import S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY, Addresses, PartState, StateFolder
from headrace.stack.supervisor import Stack
from tests.support.eventually import eventually

UP = "import asyncio, pathlib, sys; from headrace.stack import control; asyncio.run(control.up(pathlib.Path(sys.argv[1]), services=False))"
PARTS = ("kafka", "s3", "temporal")


@pytest_asyncio.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with Stack(tmp_path_factory.mktemp("stack"), services=False) as stack:
        yield stack


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A supervisor in a process of its own, in the folder `tmp_path`."""
    with subprocess.Popen([sys.executable, "-c", UP, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def pids(folder: Path) -> dict[str, int]:
    return {part.part: part.pid for part in control.read_state(folder) if part.pid is not None}


async def all_healthy(folder: Path) -> list[PartState]:
    parts = control.read_state(folder)
    healthy = [await control.probe(part) == "healthy" and part.ready for part in parts]
    return parts if parts and all(healthy) else []


def is_ready(folder: Path, supervisor: int) -> bool:
    snapshot = StateFolder(folder).read_snapshot()
    return snapshot is not None and snapshot.ready and snapshot.supervisor == supervisor


def s3_put_and_get(addresses: Addresses, bucket: str, content: bytes | None) -> bytes:
    client = boto3.client(
        "s3",
        endpoint_url=addresses.s3,
        region_name="us-east-1",
        aws_access_key_id=S3_ACCESS_KEY_ID,
        aws_secret_access_key=S3_SECRET_ACCESS_KEY,
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )
    try:
        if content is not None:
            client.create_bucket(Bucket=bucket)
            client.put_object(Bucket=bucket, Key="key", Body=content)
        return bytes(client.get_object(Bucket=bucket, Key="key")["Body"].read())
    finally:
        client.close()


async def write_to_kafka(addresses: Addresses, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=addresses.kafka)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()
    async with aiokafka.AIOKafkaProducer(bootstrap_servers=addresses.kafka) as producer:
        await producer.send_and_wait(topic, b"kept")


async def read_from_kafka(addresses: Addresses, topic: str) -> bytes:
    async with aiokafka.AIOKafkaConsumer(topic, bootstrap_servers=addresses.kafka, auto_offset_reset="earliest") as consumer:
        record = await asyncio.wait_for(consumer.getone(), 20.0)
    return bytes(record.value)


async def retention(folder: Path) -> str:
    address = next(part.health for part in control.read_state(folder) if part.part == "temporal")
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(address)
    return str(answer.json()["config"]["workflowExecutionRetentionTtl"])


async def test_every_part_answers_and_can_be_looked_at(stack: Stack) -> None:
    parts = {part.part: part for part in await all_healthy(stack.state.path)}
    assert sorted(parts) == ["kafka", "s3", "temporal", "temporal-ui"]
    assert parts["temporal-ui"].pid == parts["temporal"].pid
    assert parts["temporal-ui"].address == stack.addresses.temporal_ui
    assert await retention(stack.state.path) == f"{720 * 3600}s"


async def test_a_second_stack_in_the_same_folder_is_refused(stack: Stack) -> None:
    with pytest.raises(StackError, match=f"already running in .* as pid {os.getpid()}"):
        await Stack(stack.state.path, services=False).start()
    assert await all_healthy(stack.state.path)


async def test_parts_and_warden_killed_by_9_come_back(stack: Stack) -> None:
    folder, before = stack.state.path, pids(stack.state.path)
    assert stack._group is not None
    warden = stack._group._warden
    assert warden is not None
    for pid in {*(before[part] for part in PARTS), warden.pid}:
        os.kill(pid, signal.SIGKILL)

    async def all_new() -> bool:
        now = pids(folder)
        return bool(await all_healthy(folder)) and all(now.get(part) != before[part] for part in PARTS)

    check: Callable[[], bool | Awaitable[bool]] = all_new
    await eventually(check, timeout=40.0)
    assert stack._group._warden is not None
    assert stack._group._warden.pid != warden.pid
    assert {os.getpgid(pid) for pid in (*pids(folder).values(), stack._group._warden.pid)} == {stack._group.id}


async def test_data_survive_a_stop_and_a_start_on_other_ports(tmp_path: Path) -> None:
    lines: list[str] = []
    async with Stack(tmp_path, services=False, say=lines.append) as first:
        before = first.addresses
        await write_to_kafka(before, "kept")
        await asyncio.to_thread(s3_put_and_get, before, "kept", b"kept" * 1_000_000)
        assert (tmp_path / "env").exists()
    assert not is_locked(first.state.parts_lock), "a process of the stack is left"
    assert control.read_state(tmp_path) == []
    assert not (tmp_path / "env").exists()
    with ExitStack() as taken:
        for port in first.state.read_ports().values():  # the inner ones too: every server must do with other ports
            server = taken.enter_context(socket.socket())
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(("127.0.0.1", port))
            server.listen()
        async with Stack(tmp_path, services=False, say=lines.append) as second:
            after = second.addresses
            assert await read_from_kafka(after, "kept") == b"kept"
            assert await asyncio.to_thread(s3_put_and_get, after, "kept", None) == b"kept" * 1_000_000
            assert await asyncio.to_thread(s3_put_and_get, after, "new", b"new") == b"new"
            assert await retention(tmp_path) == f"{720 * 3600}s"
    assert {before.kafka, before.temporal, before.temporal_ui, before.s3}.isdisjoint(
        {after.kafka, after.temporal, after.temporal_ui, after.s3}
    )
    assert f"port {before.kafka.rsplit(':', 1)[1]} is in use: kafka takes {after.kafka.rsplit(':', 1)[1]}" in lines


async def test_a_supervisor_killed_by_9_leaves_no_process_and_the_next_one_starts(
    tmp_path: Path, supervisor: subprocess.Popen[str]
) -> None:
    await eventually(lambda: is_ready(tmp_path, supervisor.pid), timeout=60.0)
    state, before = StateFolder(tmp_path), pids(tmp_path)
    supervisor.kill()
    supervisor.wait()
    await eventually(lambda: not is_locked(state.parts_lock))
    assert [await control.probe(part) for part in control.read_state(tmp_path)] == ["down"] * len(before)
    again = await asyncio.create_subprocess_exec(sys.executable, "-c", UP, str(tmp_path), stdout=subprocess.PIPE)
    await eventually(lambda: is_ready(tmp_path, again.pid), timeout=60.0)
    assert set(pids(tmp_path).values()).isdisjoint(before.values())
    again.terminate()
    output, _ = await asyncio.wait_for(again.communicate(), 30.0)
    assert again.returncode == 0
    assert output.decode().splitlines()[-1] == "stopping"
    assert not is_locked(state.parts_lock), "a process of the stack is left after SIGTERM"
    assert not control.running(tmp_path)


async def test_a_part_that_ends_at_once_is_an_error_with_its_log_and_leaves_nothing(tmp_path: Path) -> None:
    log = tmp_path / "data" / "kafka" / "log"
    log.mkdir(parents=True)
    (log / "meta.properties").write_text("version=1\nnode.id=7\ncluster.id=other\n")
    stack = Stack(tmp_path, services=False)
    with pytest.raises(StackError, match="kafka ended with exit code 1") as raised:
        await stack.start()
    assert str(tmp_path / "logs" / "kafka.log") in str(raised.value)
    assert "node id" in str(raised.value)
    assert not is_locked(stack.state.parts_lock)
    assert not control.running(tmp_path)
