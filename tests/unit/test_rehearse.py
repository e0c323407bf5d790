"""`headrace route test` says what the ingress would do, because it asks the ingress's own decoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ingress import rehearse

FOLDER = Path(__file__).parents[2] / "docs" / "examples" / "own_workflow"
EVENT_ID = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HEADRACE_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("HEADRACE_ROUTES_FILE", str(FOLDER / "routes.toml"))
    monkeypatch.setenv("HEADRACE_TOPIC_PREFIX", "x.")


@pytest.fixture
def asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """The exit code, what is printed, and what is complained of."""

    def ask(record: str, *requests: Any, key: str | None = None) -> tuple[int, list[dict[str, Any]], str]:
        (tmp_path / "requests").write_text("\n".join(each if isinstance(each, str) else json.dumps(each) for each in requests))
        code = rehearse.main([record, "--json", str(tmp_path / "requests"), *(["--key", key] if key is not None else [])])
        said = capsys.readouterr()
        return code, [json.loads(line) for line in said.out.splitlines()], said.err

    return ask


def test_a_good_request_says_which_run_it_would_be(asked: Any) -> None:
    request = {"event_id": EVENT_ID, "user_id": "ada", "requested_at": "2026-11-25T12:00:00Z", "item": "mill", "quantity": 2}
    code, [answer], _ = asked("OrderRequested", request)
    assert code == 0
    assert answer == {
        "record": "acme.orders.OrderRequested",
        "topic": "x.orders.requests",
        "workflow": "OrderWorkflow",
        "task_queue": "acme-orders",
        "priority": 3,
        "order": "key",
        "event_id": EVENT_ID,
        "key": "ada",
        "disposition": "started",
        "workflow_id": f"orders-{EVENT_ID}",
        "fairness_key": "ada",
    }
    _, [answer], _ = asked("acme.orders.OrderRequested", {"user_id": "u" * 100, "item": "mill"}, key="k")
    assert (answer["key"], len(answer["fairness_key"])) == ("k", 64)


@pytest.mark.parametrize(
    ("record", "fields", "says"),
    [
        ("OrderRequested", {"item": "mill", "quantity": 0}, "quantity: Input should be greater than or equal to 1"),
        ("OrderRequested", {"item": "mill", "user_id": "a\nb"}, "user_id: a user ID has no control characters"),
        ("ImageGenerationRequested", {"prompt": " "}, "prompt: the prompt is blank"),
    ],
)
def test_a_request_that_would_be_dead_lettered_says_why(asked: Any, record: str, fields: dict[str, Any], says: str) -> None:
    right = {"item": "m"} if record == "OrderRequested" else {"prompt": "p"}
    code, [good, bad], _ = asked(record, {"user_id": "u", **right}, {"user_id": "u", **fields})
    assert (code, good["disposition"], bad["disposition"], bad["reason"]) == (1, "started", "dead_lettered", "invalid")
    assert says in bad["message"]


def test_a_request_that_temporal_would_not_take(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_TEMPORAL_MAX_PAYLOAD_BYTES", "1024")
    code, [answer], _ = asked("ImageGenerationRequested", {"user_id": "u", "prompt": "p" * 2000, "backend": "local"})
    assert (code, answer["reason"]) == (1, "too_large")


@pytest.mark.parametrize(
    ("record", "line", "says"),
    [
        ("Nothing", "{}", "no route is for the record 'Nothing'"),
        ("OrderRequested", "{oops", "line 1 is not JSON"),
        ("OrderRequested", "[]", "line 1 is not a JSON object"),
        ("OrderRequested", '{"user_id": "u"}', "line 1: not a acme.orders.OrderRequested"),
        ("OrderRequested", '{"user_id": "u", "item": "m", "requested_at": "now"}', "line 1: requested_at is not a time"),
    ],
)
def test_what_is_no_such_request_at_all_is_wrong_usage(asked: Any, record: str, line: str, says: str) -> None:
    code, answers, complaint = asked(record, line)
    assert (code, answers) == (2, [])
    assert says in complaint


def test_without_a_request_it_says_where_they_go(capsys: pytest.CaptureFixture[str]) -> None:
    assert rehearse.main(["OrderRequested"]) == 0
    assert "workflow:   OrderWorkflow\n" in capsys.readouterr().out


def test_routes_that_cannot_be_used_end_with_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("HEADRACE_ROUTES_FILE", "/nowhere/routes.toml")
    assert rehearse.main(["OrderRequested"]) == 1
    assert "/nowhere/routes.toml cannot be read" in capsys.readouterr().err
