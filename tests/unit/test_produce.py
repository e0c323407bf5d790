"""`headrace produce` reads a line as the request of its route."""

from __future__ import annotations

import pytest

from headrace.cli.errors import CommandError
from headrace.cli.produce import _request, route_called
from schemas.learning import LearningPathRequested
from schemas.routes import load_routes


@pytest.mark.parametrize("name", ["LearningPathRequested", "headrace.learning.LearningPathRequested"])
def test_a_learning_path_is_asked_for_by_either_name_of_its_record(name: str) -> None:
    route = route_called(load_routes(), name)
    request = _request(route, '{"user_id": "ada", "category": "sql", "skill_level": "beginner", "time_commitment_hours": 4}', 1, None)
    assert isinstance(request, LearningPathRequested)
    assert (route.domain, route.workflow, route.task_queue) == ("learning", "LearningPathWorkflow", "project-ai-learning")
    assert (request.learning_style, request.event_id.version) == ("balanced", 4)


def test_a_value_that_the_model_refuses_is_told_with_its_line() -> None:
    line = '{"user_id": "ada", "category": "sql", "skill_level": "guru", "time_commitment_hours": 4}'
    with pytest.raises(CommandError, match=r"line 3 is no headrace\.learning\.LearningPathRequested: skill_level: .*'beginner'"):
        _request(route_called(load_routes(), "LearningPathRequested"), line, 3, None)


def test_a_misspelt_field_is_refused_and_not_left_out() -> None:
    line = '{"user_id": "ada", "category": "sql", "skill_level": "beginner", "time_commitment_hours": 4, "learning_stile": "visual"}'
    with pytest.raises(CommandError, match=r"line 1 is no .*: learning_stile: Extra inputs are not permitted"):
        _request(route_called(load_routes(), "LearningPathRequested"), line, 1, None)
