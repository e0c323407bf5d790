"""The `headrace` command: parses, calls, and turns errors into sentences and exit codes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated, NoReturn
from uuid import UUID

import typer

from headrace.cli.dlq import app as dlq_app
from headrace.cli.errors import CommandError, Exit
from headrace.cli.running import Json, loaded, run_command, sentences
from headrace.lifecycle import leave
from schemas.names import Action

app = typer.Typer(
    name="headrace",
    help="A bridge from Kafka to Temporal: one request event, one workflow, one completion event.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(dlq_app, name="dlq")

route_app = typer.Typer(help="The routes, and those that are stopped.", no_args_is_help=True)
app.add_typer(route_app, name="route")

_INTERRUPTED = 130


def _version(wanted: bool) -> None:
    if wanted:
        print(metadata.version("headrace"))
        raise typer.Exit


@app.callback()
def headrace(
    _: Annotated[bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version and end.")] = False,
) -> None:
    """Options that stand before a command."""


@app.command()
def up(detach: Annotated[bool, typer.Option("--detach", help="Return when everything is ready.")] = False) -> None:
    """Start the embedded stack and every service, supervised."""
    from headrace.settings import state_dir
    from headrace.stack import control

    with sentences():
        if detach:
            control.detach(state_dir(), say=_say)
        else:
            asyncio.run(control.up(state_dir(), _say))


@app.command()
def down(quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing when nothing runs.")] = False) -> None:
    """Stop what `up` started. Data stay."""
    from headrace.settings import state_dir
    from headrace.stack import control

    with sentences():
        if control.down(state_dir(), say=_say):
            _say(f"stopped; data stay in {state_dir()}")
        elif not quiet:
            _say(f"nothing runs in {state_dir()}")


@app.command()
def status(
    as_json: Json = False,
    watched: Annotated[bool, typer.Option("--watch", help="Again every 2 seconds, until Ctrl-C.")] = False,
) -> None:
    """Show each part: pid, address, health; lag, backlog, dead letters, queues, schedules."""
    from headrace.cli.status import show, watch
    from headrace.settings import state_dir

    if not watched:
        run_command(show(loaded(), state_dir(), as_json=as_json))
        return
    if as_json:
        raise CommandError(Exit.USAGE, "--watch is for people: `headrace status --json` as often as a program wants it")
    with contextlib.suppress(KeyboardInterrupt):
        run_command(watch(loaded(), state_dir()))


@app.command()
def setup() -> None:
    """Make topics, schemas, tables, bucket, search attributes and schedules. Idempotent, for any environment."""
    from headrace import setup as setting_up

    run_command(setting_up.run(loaded(), _say))


@app.command()
def ingress() -> None:
    """Run the ingress in the foreground."""
    _become("ingress")


@app.command()
def workers(domain: Annotated[str | None, typer.Option(help="Only this domain's worker.")] = None) -> None:
    """Run the domain workers in the foreground."""
    _become("workers", *(["--domain", domain] if domain else []))


@app.command()
def notifier() -> None:
    """Run the notifier in the foreground."""
    _become("notifier")


@app.command()
def produce(
    record: Annotated[str, typer.Argument(help="Name of a request record, for example ImageGenerationRequested.")],
    source: Annotated[str, typer.Option("--json", metavar="FILE|-", help="Requests, one JSON object a line.")],
    key: Annotated[str | None, typer.Option(help="The Kafka key; the user ID unless given.")] = None,
    event_id: Annotated[UUID | None, typer.Option(help="For a single request; drawn unless given.")] = None,
) -> None:
    """Send requests; print one event ID a line."""
    from headrace.cli.produce import send

    run_command(send(loaded(), record, source, key=key, event_id=event_id))


@app.command()
def command(
    action: Annotated[Action, typer.Argument(help="What the workflow is told.", show_default=False)],
    target: Annotated[UUID, typer.Argument(metavar="EVENT_ID", help="The event ID of its request.")],
    reason: Annotated[str, typer.Option(help="Why, in words for people.")] = "",
    user: Annotated[str | None, typer.Option(help="Who gives it; the name of who runs this unless given.")] = None,
) -> None:
    """Pause, resume or cancel the workflow of an event; print the event ID of the command."""
    from headrace.cli.command import send

    run_command(send(loaded(), action, target, reason=reason, user=user))


@app.command()
def completions(
    domain: Annotated[str | None, typer.Argument(help="For example image; every domain unless given.")] = None,
    event_id: Annotated[UUID | None, typer.Option(help="Only this request's.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Wait for more; with --event-id until it is there.")] = False,
    as_json: Json = False,
) -> None:
    """Print completions from the start of their topic, repeats dropped."""
    from headrace.cli.completions import show

    run_command(show(loaded(), domain, event_id=event_id, follow=follow, as_json=as_json))


@app.command()
def explain(
    event_id: Annotated[UUID, typer.Argument(metavar="EVENT_ID", help="The event ID of a request, or of a command.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Say what became of an event: records, ledger, runs, completions, dead letters, redrives, by time."""
    from headrace.cli.explain import show

    run_command(show(loaded(), event_id, as_json=as_json))


@route_app.command("list")
def route_list(as_json: Json = False) -> None:
    """Show each route: topic, workflow, and what has stopped it."""
    from headrace.cli.route import show

    run_command(show(loaded(), as_json=as_json))


@route_app.command("check")
def route_check(
    file: Annotated[Path | None, typer.Argument(help="A file of routes; HEADRACE_ROUTES_FILE unless given.")] = None, as_json: Json = False
) -> None:
    """Hold each route against what the workers run; end with 1 when one is wrong."""
    _become("workers.check", *([str(file)] if file else []), *(["--json"] if as_json else []))


@route_app.command("test")
def route_test(
    record: Annotated[str, typer.Argument(help="The record, with or without its namespace.")],
    source: Annotated[
        str | None, typer.Option("--json", metavar="FILE|-", help="Requests, one JSON object a line; answered alike.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="The Kafka key; the user ID unless given.")] = None,
) -> None:
    """Say what would become of a request, without sending it; end with 1 when one would be dead-lettered."""
    _become("ingress.rehearse", record, *(["--json", source] if source else []), *(["--key", key] if key is not None else []))


@route_app.command("resume")
def route_resume(
    route: Annotated[str | None, typer.Argument(help="The record, with or without its namespace; or the topic that is stopped.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every route that is stopped.")] = False,
) -> None:
    """Let a route go on that its dead letters have stopped."""
    from headrace.cli.route import resume

    run_command(resume(loaded(), route, every=every))


@app.command()
def replay(
    topic: Annotated[str, typer.Argument(help="A request topic, for example image.requests.")],
    begin: Annotated[list[str], typer.Option("--from", help="earliest, an ISO time, OFFSET, or PARTITION:OFFSET (several).")],
    end: Annotated[list[str] | None, typer.Option("--to", help="The same, or latest (unless given). That record is not in it.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Say what would be done, and do nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    rate: Annotated[float | None, typer.Option(help="Records in a second at the most.", min=0.001)] = None,
    as_json: Json = False,
) -> None:
    """Read a range of a request topic again, and send those requests once more whose events were never started."""
    from headrace.cli.replay import run

    run_command(run(loaded(), topic, begin, end or ["latest"], only_plan=plan, yes=yes, rate=rate, as_json=as_json))


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check the environment and say what to do."""
    from headrace.cli.doctor import show

    run_command(show(loaded(), as_json=as_json))


def run() -> NoReturn:
    """Entry point of the `headrace` script."""
    leave(main(sys.argv[1:]))


def main(arguments: list[str]) -> int:
    """The command's exit code; everything it has to say is printed."""
    try:
        app(args=arguments, prog_name="headrace")
    except CommandError as error:
        return _fail(error.code, str(error))
    except SystemExit as ended:  # typer's own end: 0, or 2 for wrong usage, or 130 for Ctrl-C
        return ended.code if isinstance(ended.code, int) else Exit.FAILED
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader went away (`headrace completions | head -1`): nobody is left to tell. Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return Exit.DONE


def _become(module: str, *arguments: str) -> NoReturn:
    """Replaces this process: the service's own composition root reads the settings, and signals reach it directly.

    `-P`: a folder `workers` or `schemas` of the project in which it is called does not hide ours.
    """
    loaded()
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    os.execve(sys.executable, [sys.executable, "-P", "-m", module, *arguments], environment)  # noqa: S606 - no shell is what is wanted


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _fail(code: Exit, text: str) -> int:
    typer.echo(f"headrace: {text}", err=True)
    return code


if __name__ == "__main__":
    run()
