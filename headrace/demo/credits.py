"""The credits of the demo's users: what an operator does by the command, and the balance that the database has."""

from __future__ import annotations

import asyncio
import sys

from sqlalchemy import select

from headrace.settings import Settings
from headrace.store.engine import engine_of
from headrace.store.tables import CREDIT_ACCOUNTS


async def operate(*arguments: str) -> str | None:
    """Runs `python -m workers.transaction` with these arguments; what it complains of, None when it is done."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "workers.transaction", *arguments, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    try:
        _, complaint = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode == 0:
        return None
    return complaint.decode(errors="replace").strip() or f"workers.transaction {arguments[0]} ended with {process.returncode}"


async def balance(settings: Settings, user: str) -> int | None:
    """None for a user without an account."""
    database = engine_of(settings)
    try:
        async with database.connect() as connection:
            return (await connection.execute(select(CREDIT_ACCOUNTS.c.balance).filter_by(user_id=user))).scalar_one_or_none()
    finally:
        await database.dispose()
