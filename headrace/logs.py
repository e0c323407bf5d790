"""Logs of every process: those of structlog and of the standard library in one form, JSON when not on a terminal."""

import logging
import sys
from collections.abc import Callable
from typing import Any

import orjson
import structlog
from temporalio import activity, workflow

CHATTY = ("aiokafka", "httpx", "httpcore", "httpx2", "httpcore2", "botocore", "alembic")
"""Libraries of which only warnings are of interest."""
_BROKER_AWAY_PER_SECOND = 1.0


class _Calm(logging.Filter):
    """Lets one record of each aiokafka logger and line pass a second: with the broker away it writes about thirty."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[tuple[str, int], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith("aiokafka"):
            return True
        place = (record.name, record.lineno)
        if record.created - self._last.get(place, 0.0) < 1 / _BROKER_AWAY_PER_SECOND:
            return False
        self._last[place] = record.created
        return True


def configure(level: str) -> None:
    """Sets up both loggers; called once, by a composition root.

    `DEBUG` is for Headrace's own: at that level libraries write what they send and receive, payloads, rows, headers and all.
    """
    stamped: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(repr_native_str=True)]  # quoted: what comes from outside moves no cursor
        if sys.stderr.isatty()
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(_json)]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_Calm())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *stamped],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(logging.getLevelNamesMapping()[level.upper()], logging.INFO))
    # Which run and which attempt is bound to the context (headrace.interceptors), as fields and not as a dict behind the words.
    workflow.logger.workflow_info_on_message = activity.logger.activity_info_on_message = False
    for chatty in CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)
    structlog.configure(
        processors=[structlog.stdlib.add_logger_name, *stamped, structlog.processors.StackInfoRenderer(), *last],
        # Not through the standard library's loggers: the ingress writes a line for each record, and there it cost as much as all the rest.
        logger_factory=lambda name="", *_: _Logger(name),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )


def _json(event: Any, default: Callable[[Any], Any]) -> str:
    return orjson.dumps(event, default=default).decode()


class _Logger(structlog.WriteLogger):
    """Writes to stderr under a name."""

    def __init__(self, name: str) -> None:
        super().__init__(sys.stderr)
        self.name = name
