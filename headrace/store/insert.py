"""The one statement that SQLite and PostgreSQL spell alike and SQLAlchemy does not."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection


async def insert_once(connection: AsyncConnection, table: Table, row: dict[str, Any]) -> bool:
    """Inserts `row` unless its key is there already; whether it was inserted."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    result = await connection.execute(dialect.insert(table).values(row).on_conflict_do_nothing())
    return result.rowcount == 1
