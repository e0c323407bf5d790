"""The shipped curriculum, and what is composed of it."""

from __future__ import annotations

from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit

import pytest

from schemas.learning import SkillLevel
from tests.support.learning_runs import CURRICULUM
from workers.learning.curriculum import SHIPPED, Category, Curriculum, CurriculumError, compose, load
from workers.learning.logic import LEVELS, key
from workers.learning.models import SyllabusBrief

EACH = pytest.mark.parametrize("category", CURRICULUM.categories, ids=lambda category: category.name)


def brief(level: SkillLevel, hours: int = 40) -> SyllabusBrief:
    return SyllabusBrief(category="", skill_level=level, time_commitment_hours=hours, learning_style="balanced")


def test_there_are_at_least_eight_categories() -> None:
    assert len(CURRICULUM.names()) >= 8


@EACH
def test_a_category_is_worth_the_name(category: Category) -> None:
    for level in LEVELS:
        topics = category.topics(level)
        assert 5 <= len(topics) <= 8
        assert 30 <= sum(topic.hours for topic in topics) <= 80
        assert any(topic.needs for topic in topics)
    titles = [key(topic.title) for topic in category.all()]
    assert len(set(titles)) == len(titles)
    for topic in category.all():
        assert topic.summary.endswith(".")
        assert len(topic.outcomes) >= 2
        assert len({resource.url for resource in topic.resources}) >= 2, f"{topic.id} has one resource twice"


@EACH
def test_every_link_is_an_address(category: Category) -> None:
    for topic in category.all():
        for resource in topic.resources:
            parts = urlsplit(resource.url)
            assert parts.hostname
            assert "." in parts.hostname


@EACH
@pytest.mark.parametrize("level", get_args(SkillLevel))
@pytest.mark.parametrize("hours", [1, 2, 80])
def test_a_syllabus_has_what_it_needs_and_fits_into_half_a_year(category: Category, level: SkillLevel, hours: int) -> None:
    syllabus = compose(category, brief(level, hours))
    ids = [module.id for module in syllabus.modules]
    assert 1 <= len(ids) == len(set(ids))
    assert sum(module.hours for module in syllabus.modules) <= 26 * hours
    titles = {topic.id: topic.title for topic in category.all()}
    for module in syllabus.modules:
        assert set(module.prerequisites) <= set(ids)
    for topic in category.topics(level):
        if topic.id in ids:
            assert all(need in ids or titles[need] in syllabus.assumed for need in topic.needs)
    if hours == 80:
        assert len(ids) == len(category.topics(level))


@EACH
def test_every_topic_finds_its_own_resources(category: Category) -> None:
    for topic in category.all():
        own = CURRICULUM.resources(category.name, topic.title)
        assert [resource.url for resource in own] == [resource.url for resource in topic.resources]


@pytest.mark.parametrize(
    ("name", "found"), [("ml", "Machine learning"), ("WEB_DEV", "Web development"), ("  PostgreSQL ", "Databases and SQL")]
)
def test_a_category_is_found_by_its_other_names(name: str, found: str) -> None:
    assert CURRICULUM.name_of(name) == found


def test_a_category_from_elsewhere_keeps_its_name() -> None:
    assert CURRICULUM.name_of("  Bread   baking ") == "Bread baking"
    assert CURRICULUM.find("Bread baking") is None


def test_a_topic_from_elsewhere_gets_the_resources_of_one_that_is_like_it() -> None:
    [first, *_] = CURRICULUM.resources("SQL", "Joins in SQL")
    assert "join" in first.url
    assert CURRICULUM.resources("Bread baking", "Sourdough") == []
    assert CURRICULUM.resources("Bread baking", "Dynamic programming")[0].provider == "Jeff Erickson"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (("needs = []", 'needs = ["nothing"]'), "nothing"),
        (('url = "https://', 'url = "javascript:'), "url"),
        (("hours = 5", "hours = 0"), "hours"),
        (("hours = 5", "hours = 5\nlevel = 9"), "level"),
        (('id = "functions"', 'id = "values"'), "same ID"),
        (("needs = []", 'needs = ["control-flow"]'), "circle"),
        (("name = ", "name "), "python.toml"),
    ],
)
def test_a_curriculum_with_a_fault_says_where(tmp_path: Path, changed: tuple[str, str], said: str) -> None:
    text = (SHIPPED / "python.toml").read_text()
    assert changed[0] in text
    (tmp_path / "python.toml").write_text(text.replace(*changed, 1))
    with pytest.raises(CurriculumError, match=r"python\.toml") as raised:
        load(tmp_path)
    assert said in str(raised.value)


def test_two_categories_of_one_name_are_refused() -> None:
    [python] = [category for category in CURRICULUM.categories if category.name == "Python"]
    with pytest.raises(CurriculumError, match="two categories are called"):
        Curriculum([python, python.model_copy(update={"name": "Snakes"})])
