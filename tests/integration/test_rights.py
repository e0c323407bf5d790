"""What `headrace doctor` finds out of rights and clocks, and that it leaves nothing behind."""

from __future__ import annotations

from uuid import uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from headrace import kafka, rights, s3, setup
from headrace.settings import Settings
from headrace.store.engine import engine
from schemas.topics import Topics


async def test_asking_for_rights_writes_no_record_and_leaves_no_object(settings: Settings) -> None:
    await setup.run(settings, lambda _: None)
    topics = Topics(settings.topic_prefix)
    both = [topics.requests("image"), topics.dead_letters(topics.requests("image"))]
    assert await rights.may_not_write(settings, both) == []
    assert await rights.may_not_read(settings, both) == []
    assert await rights.may_use_group(settings, both[0])
    assert abs(await rights.s3_round_trip(settings)) < 60
    async with kafka.consumer(settings) as consumer:
        ends = await consumer.end_offsets(await kafka.partitions(settings, both))
    assert set(ends.values()) == {0}
    client = s3.client(settings)
    assert client.list_objects_v2(Bucket=settings.s3_bucket).get("KeyCount", 0) == 0
    client.close()


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
