"""`headrace route`."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.table import Table

from headrace import breakers
from headrace.breakers import StoppedRoute
from headrace.cli.errors import CommandError, Exit
from headrace.cli.parts import opened_database
from headrace.settings import Settings
from schemas.routes import load_routes
from schemas.topics import Topics


async def resume(settings: Settings, name: str | None, *, every: bool) -> None:
    """Lets one route, or all, go on. Raises `CommandError`: 2 which one, 3 not stopped, 4 the database is away."""
    if (name is None) is not every:
        raise CommandError(Exit.USAGE, "which route? `headrace route resume ROUTE`, or --all; `headrace route list` shows them")
    async with opened_database(settings) as database:
        stopped = await breakers.stopped_routes(database)
        resumed = stopped if name is None else [_named(name, stopped)]
        for route in resumed:
            await breakers.resume(database, route.route)  # whether or not somebody else was faster: it goes on
    for route in resumed:
        print(f"{route.route} goes on; it was stopped {_since(route)}")
    if not resumed:
        print("no route is stopped")


async def stopped_routes(settings: Settings) -> list[StoppedRoute]:
    """Raises `CommandError`: 4 the database is away."""
    async with opened_database(settings) as database:
        return await breakers.stopped_routes(database)


async def show(settings: Settings, *, as_json: bool) -> None:
    """Prints each route, and what has stopped it. Raises `CommandError`: 4 the database is away."""
    stopped = {route.route: route for route in await stopped_routes(settings)}
    topics, routes = Topics(settings.topic_prefix), load_routes(settings.routes_file)
    rows = [_row(route.record, topics.requests(route.domain), route.workflow, stopped.get(route.record)) for route in routes.all()]
    # A topic that has records which cannot be read, or a route that is in the file no more.
    others = [left for left in stopped.values() if routes.find(left.route) is None]
    rows += [_row(left.route, left.topic, None, left) for left in others]
    if as_json:
        for row in rows:
            print(json.dumps(row))
    else:
        Console().print(_table(rows))
        for each in stopped.values():
            print(f"\n{describe(each)}")


def describe(route: StoppedRoute) -> str:
    """What stopped it, and how it goes on."""
    return f"{route.route} is stopped {_since(route)}\n  when that is mended: {route.resume}"


def as_fields(route: StoppedRoute) -> dict[str, str]:
    """For `--json`."""
    return {
        "route": route.route,
        "topic": route.topic,
        "cause": route.cause,
        "tripped_at": route.tripped_at.isoformat(),
        "resume": route.resume,
    }


def _named(name: str, stopped: list[StoppedRoute]) -> StoppedRoute:
    # The last part of a topic's name ("requests") names nothing.
    records = [route for route in stopped if route.route != route.topic]
    found = [route for route in stopped if route.route == name] or [route for route in records if route.route.rsplit(".", 1)[-1] == name]
    if len(found) == 1:
        return found[0]
    if found:
        raise CommandError(Exit.USAGE, f"{name} is the last part of several: {', '.join(route.route for route in found)}")
    these = f"these are: {', '.join(route.route for route in stopped)}" if stopped else "no route is"
    raise CommandError(Exit.NOT_FOUND, f"{name} is not stopped; {these}")


def _since(route: StoppedRoute) -> str:
    return f"since {route.tripped_at:%Y-%m-%d %H:%M:%S} UTC: {route.cause}"


def _row(route: str, topic: str, workflow: str | None, stopped: StoppedRoute | None) -> dict[str, Any]:
    return {"route": route, "topic": topic, "workflow": workflow, "stopped": None if stopped is None else as_fields(stopped)}


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table("route", "topic", "workflow", "", box=None, pad_edge=False)
    for row in rows:
        table.add_row(row["route"], row["topic"], row["workflow"] or "-", "[red]stopped[/]" if row["stopped"] else "[green]goes on[/]")
    return table
