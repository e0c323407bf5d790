"""`headrace command`."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from uuid import UUID, uuid4

from pydantic import ValidationError

from headrace.cli.errors import CommandError, Exit
from headrace.cli.produce import opened
from headrace.settings import Settings
from schemas.command import WorkflowCommandIssued
from schemas.names import Action
from schemas.request import what_is_wrong
from schemas.routes import load_routes

_NOBODY = "operator"


async def send(settings: Settings, action: Action, target: UUID, *, reason: str, user: str | None) -> None:
    """Sends the command and prints its own event ID once Kafka has acknowledged it.

    Raises `CommandError`: 2 for what is no command, 4 when Kafka does not answer.
    """
    try:
        issued = WorkflowCommandIssued(
            event_id=uuid4(),
            user_id=_myself() if user is None else user,
            requested_at=datetime.now(UTC),
            target_event_id=target,
            command=action,
            reason=reason,
        )
    except ValidationError as error:
        raise CommandError(Exit.USAGE, f"this is no command: {what_is_wrong(error)}") from error
    async with opened(settings, load_routes(settings.routes_file)) as producer:
        await producer.send(issued)
    print(issued.event_id)


def _myself() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return _NOBODY
