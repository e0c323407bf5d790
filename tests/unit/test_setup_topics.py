"""Topics on a broker that has no place for them yet."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from headrace import setup


class Fenced:
    """Answers like aiokafka's admin client of a cluster whose broker is fenced for the first few requests."""

    def __init__(self, refusals: int) -> None:
        self._refusals = refusals
        self.asked: list[list[str]] = []

    async def list_topics(self) -> list[str]:
        return ["there"]

    async def describe_cluster(self) -> dict[str, Any]:
        return {"brokers": [] if len(self.asked) < self._refusals else [1]}

    async def create_topics(self, topics: list[Any]) -> Any:
        self.asked.append([topic.name for topic in topics])
        assert all(topic.replication_factor == 1 for topic in topics)
        code = 38 if len(self.asked) <= self._refusals else 0
        return SimpleNamespace(topic_errors=[(topic.name, code, "All brokers are currently fenced") for topic in topics])


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "_ASK_AGAIN_SECONDS", 0.0)


async def test_a_broker_that_is_fenced_for_a_moment_is_asked_again() -> None:
    admin = Fenced(3)
    answers, replicas = await setup._created(admin, {"there": {}, "new": {}})
    assert admin.asked == [["new"]] * 4
    assert (answers[0][:2], replicas) == (("new", 0), 1)


async def test_a_broker_that_stays_fenced_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "_FENCED_SECONDS", 0.0)
    answers, _ = await setup._created(Fenced(10**6), {"new": {}})
    assert answers[0][1] == 38
