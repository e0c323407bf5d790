from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from schemas.learning import LearningStyle, SkillLevel
from tests.support.learning_runs import resource
from workers.learning.logic import SyllabusError, checked, in_order, judge, key, suited
from workers.learning.models import EarlierPath, Proposal

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def had(version: int, level: SkillLevel, *, ended_days_ago: int) -> EarlierPath:
    return EarlierPath(version=version, level=level, created_at=NOW - timedelta(days=30 + ended_days_ago), duration_days=30)


@pytest.mark.parametrize(
    ("stated", "earlier", "level", "said"),
    [
        ("advanced", [], "advanced", "no earlier path"),
        ("beginner", [had(1, "beginner", ended_days_ago=-1)], "beginner", "stated level counts"),
        ("beginner", [had(1, "beginner", ended_days_ago=0)], "intermediate", "path 1 in Go, beginner, is over"),
        ("beginner", [had(1, "beginner", ended_days_ago=9), had(2, "intermediate", ended_days_ago=1)], "advanced", "advanced is the next"),
        ("beginner", [had(1, "intermediate", ended_days_ago=9)], "beginner", "no earlier beginner path"),
        ("advanced", [had(4, "advanced", ended_days_ago=9)], "advanced", "gone through again"),
        ("intermediate", [had(1, "beginner", ended_days_ago=9)], "intermediate", "stated level counts"),
    ],
)
def test_ground_is_not_covered_twice_and_the_stated_level_counts_otherwise(
    stated: SkillLevel, earlier: list[EarlierPath], level: SkillLevel, said: str
) -> None:
    found, reasoning = judge("Go", stated, earlier, NOW)
    assert found == level
    assert said in reasoning


@pytest.mark.parametrize(
    ("one", "other"),
    [("Machine Learning", " machine-learning "), ("SQL", "\uff33\uff31\uff2c"), ("web_dev", "Web Dev"), ("STRASSE", "straße")],
)
def test_spellings_of_one_category_have_one_key(one: str, other: str) -> None:
    assert key(one) == key(other)


@pytest.mark.parametrize(("one", "other"), [("C", "C++"), ("C", "C#"), ("C++", "C#"), ("Python 2", "Python 3")])
def test_categories_that_differ_in_a_sign_have_keys_of_their_own(one: str, other: str) -> None:
    assert key(one) != key(other)


def proposed(name: str, *needs: str, **changed: Any) -> dict[str, Any]:
    fields = {"key": name, "topic": f"About {name}", "difficulty": "beginner", "summary": "s", "hours": 4, "outcomes": ["o"]}
    return {**fields, "prerequisites": list(needs), **changed}


def proposal(*modules: dict[str, Any], assumed: list[str] | None = None) -> Proposal:
    return Proposal.model_validate({"assumed": assumed or [], "modules": list(modules)})


def refusal(*modules: dict[str, Any], weekly: int = 10) -> str:
    with pytest.raises(SyllabusError) as raised:
        checked(proposal(*modules), weekly, generator="openai", model="m")
    return str(raised.value)


def test_a_good_proposal_becomes_a_syllabus_with_ids_of_its_own() -> None:
    syllabus = checked(proposal(proposed("a"), proposed("z", "a"), assumed=["x"]), 10, generator="openai", model="m")
    assert [(module.id, module.topic, module.prerequisites) for module in syllabus.modules] == [
        ("m1", "About a", []),
        ("m2", "About z", ["m1"]),
    ]
    assert (syllabus.assumed, syllabus.generator, syllabus.model) == (["x"], "openai", "m")


@pytest.mark.parametrize(
    ("modules", "said"),
    [
        ([], "0 modules"),
        ([proposed(f"k{number}") for number in range(25)], "25 modules"),
        ([proposed("a"), proposed("a", topic="Other")], "same key"),
        ([proposed("a", topic="Joins"), proposed("b", topic=" joins\n")], "same topic"),
        ([proposed("a", topic=" \t")], "no topic"),
        ([proposed("a", hours=0)], "0 hours"),
        ([proposed("a", hours=-5)], "-5 hours"),
        ([proposed("a", hours=61)], "61 hours"),
        ([proposed("a", "nobody")], "'nobody', is no module"),
        ([proposed("a", "a")], "circle"),
        ([proposed("a", "c"), proposed("b", "a"), proposed("c", "b")], "circle"),
    ],
)
def test_a_proposal_that_is_no_syllabus_says_why(modules: list[dict[str, Any]], said: str) -> None:
    assert said in refusal(*modules)


def test_a_path_of_more_than_a_year_is_refused() -> None:
    assert "53 hours, and 52 are the most at 1 hours a week" in refusal(proposed("a", hours=53), weekly=1)


def test_what_a_model_writes_is_bounded_and_one_line() -> None:
    wild = "\x1b[31mred\x00\r\nnext\u202e " + "x" * 2000
    syllabus = checked(
        proposal(proposed("a", topic=wild, summary=wild, outcomes=[wild] * 9), assumed=[wild] * 99), 10, generator="openai", model="m"
    )
    [module] = syllabus.modules
    texts = [module.topic, module.summary, *module.outcomes, *syllabus.assumed]
    assert all(text.isprintable() and len(text) <= 300 for text in texts)
    assert (len(module.outcomes), len(syllabus.assumed), len(module.topic)) == (4, 10, 100)


def test_an_order_keeps_what_was_given_where_nothing_speaks_against_it() -> None:
    assert in_order({"c": ["a"], "b": [], "a": []}) == ["b", "a", "c"]


@pytest.mark.parametrize(("style", "first"), [("balanced", "a"), ("reading", "b"), ("visual", "c"), ("hands_on", "d")])
def test_resources_of_the_learning_styles_kinds_come_first(style: LearningStyle, first: str) -> None:
    found = [
        resource("a", "tool" if style != "hands_on" else "article"),
        resource("b", "book"),
        resource("c", "video"),
        resource("d", "exercise"),
    ]
    assert suited(found, style)[0].title == first


def test_an_address_comes_once_and_a_module_has_at_most_four() -> None:
    found = [resource(name) for name in ("a", "b", "a", "c", "d", "e")]
    assert [one.title for one in suited(found, "balanced")] == ["a", "b", "c", "d"]
