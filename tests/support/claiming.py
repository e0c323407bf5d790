"""Writes a row into the ledger, does not commit it, and waits to be killed: `python -m tests.support.claiming URL EVENT_ID`."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from uuid import UUID

from headrace.store.engine import engine
from headrace.store.tables import LEDGER


async def main() -> None:
    url, event_id = sys.argv[1:]
    async with engine(url).connect() as connection:
        if connection.dialect.name == "sqlite":
            await connection.exec_driver_sql("BEGIN IMMEDIATE")
        row = {"event_id": UUID(event_id), "record": "x", "payload_sha256": b"", "topic": "t", "partition": 0, "offset": 7}
        await connection.execute(LEDGER.insert().values(**row, disposition="pending", claimed_at=datetime.now(UTC)))
        sys.stdout.write("claimed\n")
        sys.stdout.flush()
        await asyncio.sleep(3600)


if __name__ == "__main__":
    asyncio.run(main())
