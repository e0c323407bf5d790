"""How a process starts and ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from headrace.settings import Settings

_FAILED, _WRONG_USAGE = 1, 2
_END_SECONDS = 20.0
"""What a service that is told to stop has, beside the time in which the ingress drains: less than a container is given before it is killed.

Temporal's SDK waits for ever in a worker's shutdown when its own polling fails meanwhile: what is left in its core nobody takes.
"""


class Misconfigured(Exception):  # noqa: N818 - named for what is to be done about it
    """The service cannot start as it is set up; the text says what to do. No trace would say more."""

    def __init__(self, text: str, code: int = _FAILED) -> None:
        super().__init__(text)
        self.code = code


def run_service(name: str, main: Callable[[Settings, asyncio.Event], Coroutine[Any, Any, None]]) -> NoReturn:
    """Runs the service `name` until SIGTERM or SIGINT sets the event.

    Exits 0, 1 when it raised or does not end when it is told to, 2 for settings that cannot be used.

    `Misconfigured`, `SettingsError` and `RouteError` end it with their sentence alone.
    """
    # Here and not above: a command needs `leave` alone, and what a service needs takes half a second to import.
    import structlog

    from headrace import logs, tracing
    from headrace.settings import SettingsError, load
    from schemas.routes import RouteError

    log = structlog.get_logger(__name__)
    try:
        settings = load()
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        leave(_WRONG_USAGE)
    logs.configure(settings.log_level)
    tracing.configure(name)

    async def supervised() -> int:
        try:
            await main(settings, _told_to_stop(_END_SECONDS + settings.ingress_drain_seconds))
        except SettingsError as error:
            sys.stderr.write(f"{error}\n")
            return _WRONG_USAGE
        except (Misconfigured, RouteError) as error:
            sys.stderr.write(f"{error}\n")
            return error.code if isinstance(error, Misconfigured) else _FAILED
        except Exception:
            log.exception("service_failed")
            return _FAILED
        log.info("service_stopped")
        return 0

    code = asyncio.run(supervised())
    tracing.flush()
    leave(code)


def _told_to_stop(seconds: float) -> asyncio.Event:
    """Set by SIGTERM and SIGINT; the process ends so long after that, whatever still runs."""
    stop = asyncio.Event()
    # A thread's timer, because what hangs may be the event loop.
    last = threading.Timer(seconds, _give_up)
    last.daemon = True

    def told() -> None:
        if not stop.is_set():
            last.start()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told)
    return stop


def _give_up() -> None:
    import structlog

    structlog.get_logger(__name__).error("service_does_not_end", hint="what it had begun is done again, elsewhere or at its next start")
    leave(_FAILED)


def leave(code: int) -> NoReturn:
    """Ends the process past the interpreter's own shutdown.

    The Temporal client's native threads can abort a process that exits just after its last call (temporalio/sdk-python#300).
    """
    logging.shutdown()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(code)
