"""`headrace dlq redrive --rerun-failed`."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID, uuid4

from headrace.cli.dead_letters import moment
from headrace.cli.errors import CommandError, Exit
from headrace.cli.following import RERUN, follow_rerun
from headrace.cli.parts import connected, temporal_answers
from headrace.settings import Settings
from schemas import names
from schemas.redrive import Rerun, RunSelection
from schemas.routes import Routes, load_routes

_MOST_EVENT_IDS = 100
"""As many as Temporal's visibility query takes comfortably."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """As the command line has it."""

    event_ids: list[UUID] | None
    domains: list[str] | None
    codes: list[str] | None
    since: str | None
    until: str | None
    every: bool
    rate: float | None

    def selection(self, routes: Routes) -> RunSelection:
        """Raises `CommandError` (2)."""
        if not (self.event_ids or self.codes or self.every):
            raise CommandError(Exit.USAGE, "which failed runs? --event-id or --code, or --all; --dry-run counts them")
        if len(self.event_ids or ()) > _MOST_EVENT_IDS:
            raise CommandError(Exit.USAGE, f"not more than {_MOST_EVENT_IDS} event IDs at a time")
        known = routes.domains()
        for domain in self.domains or ():
            if domain not in known:
                raise CommandError(Exit.USAGE, f"no route is of the domain {domain!r}; there are: {', '.join(known)}")
        wanted = self.domains or known
        return RunSelection(
            records=tuple(schema.name for schema in routes.schemas() if schema.name.split(".")[-2] in wanted),
            event_ids=frozenset(self.event_ids or ()),
            codes=frozenset(self.codes or ()),
            since=moment("--since", self.since),
            until=moment("--until", self.until) or datetime.now(UTC),
        )


async def run(settings: Settings, wanted: Wanted, *, dry_run: bool, follow: bool, as_json: bool) -> None:
    """Raises `CommandError`: 1 it has failed, 2 no selection, 3 no such runs, 4 Temporal away."""
    selection = wanted.selection(load_routes(settings.routes_file))
    client, rerun_id = await connected(settings), uuid4()
    rerun = Rerun(rerun_id=rerun_id, selection=selection, rate=wanted.rate, dry_run=dry_run)
    with temporal_answers(settings):
        handle = await client.start_workflow(names.RERUN_WORKFLOW, rerun, id=f"{RERUN}{rerun_id}", task_queue=names.QUEUE_NOTIFICATIONS)
    if not follow and not dry_run:
        print(json.dumps({"workflow_id": handle.id}) if as_json else handle.id)
        return
    if dry_run and not as_json:
        print("a dry run; nothing is started:", file=sys.stderr)
    done = await follow_rerun(settings, client, handle.id, as_json=as_json)
    if not done.found:
        raise CommandError(Exit.NOT_FOUND, "no failed run is one of these, or Temporal has forgotten it")
