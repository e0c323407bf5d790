"""What every command is run with."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.cli.errors import CommandError, Exit

if TYPE_CHECKING:
    from headrace.settings import Settings

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


@contextmanager
def sentences() -> Iterator[None]:
    """Turns the errors that have a sentence into the command's end."""
    from headrace.errors import SetupError, SetupRefusedError
    from headrace.settings import SettingsError
    from headrace.stack.errors import StackError
    from schemas.routes import RouteError

    try:
        yield
    except (StackError, RouteError, SetupRefusedError) as error:
        raise CommandError(Exit.FAILED, str(error)) from error
    except SettingsError as error:
        raise CommandError(Exit.USAGE, str(error)) from error
    except SetupError as error:
        raise CommandError(Exit.UNREACHABLE, str(error)) from error


def run_command(work: Coroutine[Any, Any, None]) -> None:
    """Raises `CommandError`."""
    with sentences():
        asyncio.run(work)


def loaded() -> Settings:
    """The settings. Raises `CommandError` (2)."""
    from headrace.settings import SettingsError, load

    try:
        return load()
    except SettingsError as error:
        raise CommandError(Exit.USAGE, str(error)) from error
