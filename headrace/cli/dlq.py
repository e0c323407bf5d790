"""`headrace dlq`: parses; what is done is in the modules that each command imports when it runs."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from headrace.cli.running import Json, loaded, run_command
from schemas.errors import MAX_REDRIVES, Reason

app = typer.Typer(help="The dead letters: see them, and send them again.", no_args_is_help=True)

Reasons = Annotated[list[Reason] | None, typer.Option("--reason", help="Of this reason (several).", show_default=False)]
Of = Annotated[list[str] | None, typer.Option("--topic", help="Of this request topic (several); all unless given.", show_default=False)]
Since = Annotated[str | None, typer.Option(help="Dead-lettered (or failed) at this ISO time or later.", show_default=False)]
Until = Annotated[str | None, typer.Option(help="Dead-lettered (or failed) before this ISO time.", show_default=False)]
Key = Annotated[str | None, typer.Option(help="With this Kafka key.", show_default=False)]
EventIds = Annotated[list[UUID] | None, typer.Option("--event-id", help="Of this event (several).", show_default=False)]
RunId = Annotated[str, typer.Argument(metavar="ID", help="As `headrace dlq redrive --detach` prints it.")]


@app.command("list")
def list_(
    reason: Reasons = None,
    topic: Of = None,
    since: Since = None,
    until: Until = None,
    key: Key = None,
    event_id: EventIds = None,
    every: Annotated[bool, typer.Option("--all", help="Those that were sent again too.")] = False,
    as_json: Json = False,
) -> None:
    """List the dead letters that wait for somebody."""
    from headrace.cli.dead_letters import Filters, show_all

    run_command(show_all(loaded(), Filters(reason, topic, since, until, key, event_id), every=every, as_json=as_json))


@app.command()
def show(
    place: Annotated[str, typer.Argument(metavar="TOPIC:PARTITION:OFFSET", help="As `headrace dlq list` prints it.")],
    as_json: Json = False,
) -> None:
    """Show one dead letter: its headers, its value, what became of it."""
    from headrace.cli.dead_letters import show_one

    run_command(show_one(loaded(), place, as_json=as_json))


@app.command()
def redrive(
    *,
    reason: Reasons = None,
    topic: Of = None,
    since: Since = None,
    until: Until = None,
    key: Key = None,
    event_id: EventIds = None,
    every: Annotated[bool, typer.Option("--all", help="All of them, whatever the reason.")] = False,
    parked: Annotated[bool, typer.Option("--parked", help="Those that are parked, and no others.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count them, and do nothing.")] = False,
    rate: Annotated[float | None, typer.Option(help="Records in a second at the most.", min=0.001, show_default=False)] = None,
    max_redrives: Annotated[int, typer.Option(help="Park a record that was sent again so often.", min=1)] = MAX_REDRIVES,
    rerun_failed: Annotated[bool, typer.Option("--rerun-failed", help="Not dead letters: events whose run failed.")] = False,
    domain: Annotated[list[str] | None, typer.Option(help="With --rerun-failed: of this domain (several).", show_default=False)] = None,
    code: Annotated[list[str] | None, typer.Option(help="With --rerun-failed: of this error code (several).", show_default=False)] = None,
    follow: Annotated[bool, typer.Option("--follow/--detach", help="Wait for its end, or print its ID.")] = True,
    as_json: Json = False,
) -> None:
    """Send dead letters again, or with --rerun-failed start events anew whose run failed."""
    from headrace.cli import redrive as dead
    from headrace.cli import rerun
    from headrace.cli.dead_letters import Filters
    from headrace.cli.errors import CommandError, Exit

    settings, filters = loaded(), Filters(reason, topic, since, until, key, event_id)
    if rerun_failed:
        if reason or topic or key is not None or parked:
            raise CommandError(Exit.USAGE, "--reason, --topic, --key and --parked are for dead letters, not for --rerun-failed")
        wanted = rerun.Wanted(event_id, domain, code, since, until, every=every, rate=rate)
        run_command(rerun.run(settings, wanted, dry_run=dry_run, follow=follow, as_json=as_json))
        return
    if domain or code:
        raise CommandError(Exit.USAGE, "--domain and --code are for --rerun-failed; dead letters have --topic and --reason")
    asked = dead.Asked(filters, every=every, parked=parked, rate=rate, max_redrives=max_redrives)
    run_command(dead.run(settings, asked, dry_run=dry_run, follow=follow, as_json=as_json))


@app.command()
def progress(
    identity: RunId, follow: Annotated[bool, typer.Option("--follow", help="Wait for its end.")] = False, as_json: Json = False
) -> None:
    """Show how far a redrive has come."""
    from headrace.cli.following import show_progress

    run_command(show_progress(loaded(), identity, follow=follow, as_json=as_json))


@app.command()
def cancel(identity: RunId) -> None:
    """End a redrive: what it has sent is sent, the rest stays open."""
    from headrace.cli.following import cancel

    run_command(cancel(loaded(), identity))
