"""The routes that are stopped: rows that the ingress writes and watches, and that `headrace route resume` removes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncEngine

from headrace.store.insert import insert_once
from headrace.store.tables import BREAKERS


@dataclass(frozen=True, slots=True)
class StoppedRoute:
    """A route whose records are not read, in any process."""

    route: str
    """The record's full name; the topic's for records that have none."""
    topic: str
    cause: str
    tripped_at: datetime

    @property
    def resume(self) -> str:
        """The command that ends it."""
        return resume_command(self.route)


def resume_command(route: str) -> str:
    return f"headrace route resume {route}"


async def stopped_routes(engine: AsyncEngine) -> list[StoppedRoute]:
    """All of them, by name. Raises as SQLAlchemy and the driver do."""
    async with engine.connect() as connection:
        rows = await connection.execute(
            select(BREAKERS.c.route, BREAKERS.c.topic, BREAKERS.c.cause, BREAKERS.c.tripped_at).order_by(BREAKERS.c.route)
        )
        return [StoppedRoute(*row) for row in rows]


async def stop(engine: AsyncEngine, stopped: StoppedRoute) -> bool:
    """Stops a route everywhere; False when it was stopped already."""
    async with engine.begin() as connection:
        return await insert_once(connection, BREAKERS, asdict(stopped))


async def resume(engine: AsyncEngine, route: str) -> bool:
    """Lets a route go on everywhere; False when it was not stopped."""
    async with engine.begin() as connection:
        return (await connection.execute(delete(BREAKERS).where(BREAKERS.c.route == route))).rowcount > 0
