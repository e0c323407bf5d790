"""The rights in Kafka that the security page names are enough for ingress and notifier."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiokafka.errors import KafkaError
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # the package exports them without saying so
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from headrace import kafka, rights, setup
from headrace.cli import redrive
from headrace.cli.dead_letters import Filters
from headrace.settings import Settings
from ingress.__main__ import main as ingress
from notifier.__main__ import main as notifier
from tests.support.eventually import eventually
from tests.support.ingress import fields, framed, read_all
from tests.support.secure_kafka import PASSWORD, USER, secure_kafka
from tests.support.temporal_namespace import in_namespace_of_its_own
from workers.__main__ import serve as workers

REQUESTS, COMMANDS, COMPLETIONS, HISTORY = "image.requests", "workflow.commands", "image.completions", "history"
DEAD = [f"{topic}.dlq" for topic in (REQUESTS, COMMANDS)]
INGRESS = {"READ": [REQUESTS, COMMANDS], "WRITE": [*DEAD, COMPLETIONS]}
NOTIFIER = {"READ": [REQUESTS, COMMANDS, *DEAD], "WRITE": [COMPLETIONS, HISTORY, REQUESTS, COMMANDS]}


def only(address: str, topics: dict[str, list[str]], group: str | None) -> None:
    """Takes every right from the user and gives these."""
    admin = AdminClient({"bootstrap.servers": address})
    of_user = f"User:{USER}"
    every = AclBindingFilter(
        ResourceType.ANY,
        None,  # type: ignore[arg-type]  # any name; the annotations do not know of it
        ResourcePatternType.ANY,
        of_user,
        None,  # type: ignore[arg-type]
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
    for gone in admin.delete_acls([every]).values():
        gone.result(30)
    wanted = [(ResourceType.TOPIC, topic, operation) for operation, names in topics.items() for topic in names]
    if group is not None:
        wanted.append((ResourceType.GROUP, group, "READ"))
    made = [
        AclBinding(kind, name, ResourcePatternType.LITERAL, of_user, "*", AclOperation[operation], AclPermissionType.ALLOW)
        for kind, name, operation in wanted
    ]
    for each in admin.create_acls(made).values():
        each.result(30)


@pytest.mark.timeout(240)
async def test_the_rights_on_the_page_are_enough_for_ingress_and_notifier(settings: Settings, tmp_path: Path) -> None:
    async with secure_kafka(tmp_path / "kafka", authorizes=True) as broker:
        own = await in_namespace_of_its_own(settings.model_copy(update={"topic_prefix": ""}))
        every = own.model_copy(update={"kafka_bootstrap_servers": broker.addresses["PLAINTEXT"]})
        limited = Settings.model_validate(
            {
                **own.model_dump(),
                "kafka_bootstrap_servers": broker.addresses["SASL"],
                "kafka_security_protocol": "SASL_PLAINTEXT",
                "kafka_sasl_mechanism": "PLAIN",
                "kafka_sasl_username": USER,
                "kafka_sasl_password": PASSWORD,
            }
        )
        await setup.run(every, lambda _: None)
        good, bad = uuid4(), uuid4()
        async with kafka.producer(every, idempotent=False) as producer:
            await producer.send_and_wait(REQUESTS, framed(fields(event_id=good)))
            await producer.send_and_wait(REQUESTS, framed(fields(event_id=bad, prompt="")))
        await asyncio.to_thread(only, broker.addresses["PLAINTEXT"], INGRESS, own.ingress_group)
        await eventually(lambda: _may_not_write_requests(limited), timeout=30)
        async with running(ingress, limited):
            await eventually(lambda: _told(every, bad), timeout=60, interval=0.5)
            assert len(await read_all(every, DEAD[0])) == 1
        await asyncio.to_thread(only, broker.addresses["PLAINTEXT"], NOTIFIER, None)
        await eventually(lambda: _may_use_no_group(limited), timeout=30)
        async with running(notifier, limited), running(workers, limited):
            await eventually(lambda: _told(every, good), timeout=90, interval=0.5)
            assert len(await eventually(lambda: read_all(every, HISTORY), timeout=30)) == 1
            everything = redrive.Asked(Filters(None, None, None, None, None, None), every=True, parked=False, rate=None, max_redrives=3)
            await redrive.run(every, everything, dry_run=False, follow=True, as_json=True)
            assert len(await read_all(every, REQUESTS)) == 3


@contextlib.asynccontextmanager
async def running(main: Callable[[Settings, asyncio.Event], Coroutine[Any, Any, None]], settings: Settings) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(main(settings, stop))
    try:
        yield
    finally:
        stop.set()
        await task


async def _told(settings: Settings, event_id: UUID) -> bool:
    """Whether there is a completion of the event, or a receipt."""
    return any(str(event_id).encode() in (record.value or b"") for record in await read_all(settings, COMPLETIONS))


async def _may_not_write_requests(settings: Settings) -> bool:
    with contextlib.suppress(KafkaError):  # the rights come into force one after the other
        return await rights.may_not_write(settings, [REQUESTS]) == [REQUESTS] and await rights.may_use_group(settings, REQUESTS)
    return False


async def _may_use_no_group(settings: Settings) -> bool:
    with contextlib.suppress(KafkaError):
        return await rights.may_not_write(settings, [REQUESTS]) == [] and not await rights.may_use_group(settings, REQUESTS)
    return False
