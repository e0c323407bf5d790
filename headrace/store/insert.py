"""The statements that SQLite and PostgreSQL spell alike and SQLAlchemy does not."""

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


async def insert_all_once(connection: AsyncConnection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Inserts those of `rows` whose key is not there."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    await connection.execute(dialect.insert(table).on_conflict_do_nothing(), rows)


async def upsert(connection: AsyncConnection, table: Table, row: dict[str, Any]) -> None:
    """Inserts `row`, or writes it over the one with its key."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    key = [column.name for column in table.primary_key]
    rest = {name: value for name, value in row.items() if name not in key}
    await connection.execute(dialect.insert(table).values(row).on_conflict_do_update(index_elements=key, set_=rest))
