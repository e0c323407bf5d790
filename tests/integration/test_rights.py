"""What `headrace doctor` finds out of rights and clocks, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from uuid import uuid4

import pytest
from aiokafka.admin import NewTopic
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError
from confluent_kafka.admin import AclOperation  # type: ignore[attr-defined]  # the package exports it without saying so
from sqlalchemy.ext.asyncio import AsyncEngine

from headrace import kafka, rights, s3, setup
from headrace.settings import Settings
from headrace.store.engine import engine
from schemas.topics import Topics
from tests.support.eventually import eventually
from tests.support.secure_kafka import PASSWORD, USER, permit, secure_kafka


async def test_asking_for_rights_writes_no_record_and_leaves_no_object(settings: Settings) -> None:
    await setup.run(settings, lambda _: None)
    topics = Topics(settings.topic_prefix)
    both = [topics.requests("image"), topics.dead_letters(topics.requests("image"))]

    async def all_permitted() -> bool:  # the broker tells of a new topic a moment after it has acknowledged it
        with contextlib.suppress(UnknownTopicOrPartitionError):
            return await rights.may_not_write(settings, both) == []
        return False

    await eventually(all_permitted)
    assert await rights.may_not_read(settings, both) == []
    assert await rights.may_use_group(settings, both[0])
    assert abs(await rights.s3_round_trip(settings)) < 60
    async with kafka.consumer(settings) as consumer:
        ends = await consumer.end_offsets(await kafka.partitions(settings, both))
    assert set(ends.values()) == {0}
    client = s3.client(settings)
    assert client.list_objects_v2(Bucket=settings.s3_bucket).get("KeyCount", 0) == 0
    client.close()


async def test_a_user_without_the_right_to_write_or_read_is_told_for_which_topics(tmp_path: Path) -> None:
    names = ["both", "readable", "writable", "neither"]
    async with secure_kafka(tmp_path, authorizes=True) as broker:
        plain = kafka.admin(broker.settings("PLAINTEXT"))
        try:
            await plain.start()
            await plain.create_topics([NewTopic(name, num_partitions=1, replication_factor=1) for name in names])
        finally:
            await plain.close()
        permitted = {"both": ["READ", "WRITE"], "readable": ["READ"], "writable": ["WRITE"], "neither": ["DESCRIBE"]}
        for name in names:
            await asyncio.to_thread(permit, broker.addresses["PLAINTEXT"], name, *(AclOperation[each] for each in permitted[name]))
        given = {"kafka_sasl_mechanism": "PLAIN", "kafka_sasl_username": USER, "kafka_sasl_password": PASSWORD}
        settings = broker.settings("SASL", **given)

        async def are_in_force() -> bool:
            with contextlib.suppress(KafkaError):
                return await rights.may_not_write(settings, names) == ["neither", "readable"]
            return False

        await eventually(are_in_force, timeout=30)
        assert await rights.may_not_read(settings, names) == ["neither", "writable"]
        assert not await rights.may_use_group(settings, "both")


async def test_a_database_that_permits_everything_is_found_so(store: AsyncEngine) -> None:
    assert await rights.database_refuses(store) == []
    assert abs(await rights.database_ahead(store)) < 60


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_database_role_that_may_only_read_is_told_what_it_lacks(store: AsyncEngine) -> None:
    role = f"reader_{uuid4().hex[:8]}"
    async with store.begin() as connection:
        await connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN")
        await connection.exec_driver_sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    limited = engine(store.url.set(username=role).render_as_string(hide_password=False))
    try:
        refused = await rights.database_refuses(limited)
    finally:
        await limited.dispose()
    assert refused[0].startswith("CREATE in its schema")
    assert "INSERT, UPDATE, DELETE on ledger" in refused
