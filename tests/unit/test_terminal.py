"""What strangers have sent moves no cursor, sets no title and breaks no table of an operator's terminal."""

from __future__ import annotations

import io
import logging
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
import structlog
from aiokafka import ConsumerRecord

from headrace import logs
from headrace.checks import Finding
from headrace.cli import completions, dead_letters, doctor, explain, redrive, standing
from headrace.cli.standing import Standing
from headrace.compensations import Compensating
from headrace.completions import Received
from headrace.dead_letters import DeadLetter, Fate
from headrace.explain.facts import Fact
from headrace.queues import ScheduleState
from headrace.settings import Settings
from headrace.wire import Decoded
from schemas import headers
from schemas.errors import Reason, Rejected
from schemas.redrive import State
from schemas.routes import load_routes

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\u202egnp.exe [/] [/nothing] [link=http://evil]x \\[bold]\u2028"
NOW = datetime(2026, 11, 25, tzinfo=UTC)
_MOVES = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]")


def assert_harmless(shown: str) -> None:
    assert "owned" in shown
    assert not _MOVES.findall(shown)


def letter(reason: str = "") -> DeadLetter:
    """One that somebody has written to the dead-letter topic by hand."""
    written = headers.dead_letter(
        [(HOSTILE, HOSTILE.encode())], Rejected(Reason.INVALID, HOSTILE), topic=HOSTILE, partition=1, offset=2, time=NOW
    )
    sent = [(name, reason.encode() if reason and name == headers.DLQ_REASON else value) for name, value in written]
    value = {"event_id": uuid4(), "prompt": HOSTILE, HOSTILE: [HOSTILE]}
    record = ConsumerRecord("image.requests.dlq", 0, 1, 0, 0, HOSTILE.encode(), HOSTILE.encode(), None, 1, 1, sent)
    read = Decoded("headrace.image.ImageGenerationRequested", value)
    return DeadLetter(record, uuid4(), headers.buried(sent), read, HOSTILE.encode(), uuid4(), NOW)


def test_a_dead_letter_is_listed_and_shown_harmlessly() -> None:
    for each in (letter(), letter(HOSTILE)):
        fate = Fate(State.PARKED, cause=HOSTILE)
        assert_harmless(dead_letters.line(each, fate))
        whole = {**dead_letters.fields(each, fate), **dead_letters._contents(each), **dead_letters._fate(fate)}
        assert_harmless(dead_letters._page(whole))


def test_a_histogram_of_dead_letters_is_harmless_and_not_markup(capsys: pytest.CaptureFixture[str]) -> None:
    counted = redrive._Histogram(load_routes())
    counted.add([letter(HOSTILE)])
    counted.show(as_json=False)
    shown = capsys.readouterr().out
    assert_harmless(shown)
    assert "[/" in shown


def test_a_completion_is_printed_harmlessly() -> None:
    told = {"completed_at": NOW, "status": "FAILED", "event_id": uuid4(), "error": {"code": HOSTILE, "message": HOSTILE}, "result": None}
    for completion in (told, {**told, "error": None, "result": {"url": HOSTILE}}):
        assert_harmless(completions._line(Received("t", 0, 0, None, [], "R", completion)))


def test_what_is_known_of_an_event_is_printed_harmlessly() -> None:
    assert_harmless(
        "\n".join(explain._lines(Fact(NOW, "run_ended", HOSTILE, {"causes": [HOSTILE], "message": HOSTILE, "id": UUID(int=1)})))
    )


async def test_findings_that_quote_servers_are_no_markup(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    async def found(_: Settings) -> list[Finding]:
        return [Finding("s3", "ok", "[Errno 111] owned [/nothing] [link=x]")]

    monkeypatch.setattr(doctor, "all_findings", found)
    await doctor.show(Settings(), as_json=False)
    assert "[Errno 111] owned [/nothing] [link=x]" in " ".join(capsys.readouterr().out.split())


def test_status_tells_notes_and_failures_harmlessly() -> None:
    now = Standing(
        figures=None,
        ledger_rows=None,
        stopped=[],
        compensating=[Compensating("w", "r", "pending", "undo", 2, HOSTILE)],
        open=None,
        queues=None,
        schedules=[ScheduleState("s", there=True, paused=True, note=HOSTILE)],
        reasons={HOSTILE: 1},
        dispositions=None,
        revision=None,
    )
    assert_harmless("\n".join(standing.sentences(Settings(), now)))


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def logging_is_put_back() -> Iterator[None]:
    kept, root = structlog.get_config(), logging.getLogger()
    handlers, known = root.handlers[:], [logging.getLogger(name) for name in logs.CHATTY]
    levels = [each.level for each in (root, *known)]
    yield
    structlog.configure(**kept)
    root.handlers[:] = handlers
    for each, level in zip((root, *known), levels, strict=True):
        each.setLevel(level)


@pytest.mark.usefixtures("logging_is_put_back")
def test_a_log_on_a_terminal_quotes_what_comes_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    logs.configure("INFO")
    structlog.get_logger("headrace.test").warning("part_is_away", error=HOSTILE)
    line = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue())  # the log's own colours
    assert_harmless(line.replace("\\x1b", "").rstrip("\n"))


@pytest.mark.usefixtures("logging_is_put_back")
def test_debug_is_for_headraces_own_lines() -> None:
    """At that level a library writes what it sends and receives."""
    logs.configure("DEBUG")
    assert not logging.getLogger("temporalio.worker").isEnabledFor(logging.DEBUG)
    assert not logging.getLogger("openai").isEnabledFor(logging.DEBUG)
    assert structlog.get_logger("headrace.test").bind().is_enabled_for(logging.DEBUG)
