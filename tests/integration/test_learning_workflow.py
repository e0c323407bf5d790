"""The learning path on a real server that skips time: how each run ends, and what it tells."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError, CancelledError

from schemas.errors import FailureType
from schemas.ids import path_id
from schemas.learning import LearningPathCompleted, LearningPathResult, LearningResource
from tests.support.eventually import eventually
from tests.support.learning_runs import CURRICULUM, FakeGenerator, FakePaths, FakeResources, resource, start, working
from tests.support.runs import FakeNotifier
from workers.learning.curriculum import compose
from workers.learning.models import EarlierPath, ResourceQuery, SavedPath, SavePath, Syllabus, SyllabusBrief

BRIEF = SyllabusBrief(category="Python", skill_level="beginner", time_commitment_hours=6, learning_style="balanced")


@pytest.fixture
def client(skipping: Client) -> Client:
    return skipping


def syllabus() -> Syllabus:
    category = CURRICULUM.find("python")
    assert category is not None
    return compose(category, BRIEF)


async def failed(handle: WorkflowHandle[object, LearningPathResult]) -> ApplicationError:
    with pytest.raises(WorkflowFailureError) as raised:
        await handle.result()
    assert isinstance(raised.value.cause, ApplicationError)
    return raised.value.cause


async def test_a_path_is_told_as_it_was_stored_by_the_activity_that_the_reference_names(client: Client) -> None:
    notifier, paths = FakeNotifier(), FakePaths()
    async with working(client, notifier, paths=paths):
        handle = await start(client)
        result = await handle.result()
    [sent] = notifier.completions
    [stored] = paths.saved
    assert (sent.domain, sent.record, sent.key) == ("learning", "headrace.learning.LearningPathCompleted", b"\xff\x00key")
    assert sent.completion["status"] == "SUCCEEDED"
    assert LearningPathCompleted.model_validate(sent.completion).result == result
    assert result == stored.path.model_copy(update={"version": 1})
    assert result.path_id == path_id(UUID(handle.id.removeprefix("learning-")))
    assert (result.category, result.level, result.generator) == ("Python", "beginner", "local")
    assert result.total_hours == sum(module.hours for module in result.modules) == 46
    assert result.resources_count == sum(len(module.resources) for module in result.modules) > len(result.modules)
    assert result.estimated_duration_days == result.modules[-1].ends_on_day
    assert result.modules_without_resources == []
    assert "stated level" in result.level_reasoning
    assert notifier.history[0].entry.prompt == "python"
    history = await handle.fetch_history()
    scheduled = [event.activity_task_scheduled_event_attributes.activity_type.name for event in history.events]
    assert "notify_user" in scheduled
    assert "send_completion_notification" not in scheduled


async def test_a_second_path_of_a_user_and_category_is_version_2_and_goes_on_where_the_first_ended(client: Client) -> None:
    notifier, paths = FakeNotifier(), FakePaths()
    async with working(client, notifier, paths=paths):
        await (await start(client, category="Python")).result()
        [first] = paths.saved
        paths.saved = [first.model_copy(update={"at": first.at - timedelta(days=first.path.estimated_duration_days)})]
        result = await (await start(client, category=" python 3")).result()
        other = await (await start(client, user_id="somebody-else")).result()
    assert (result.version, result.category, result.level) == (2, "Python", "intermediate")
    assert "path 1 in Python, beginner, is over" in result.level_reasoning
    assert (other.version, other.level) == (1, "beginner")


async def test_a_category_that_the_curriculum_does_not_have_fails_at_once_and_lists_those_that_it_has(client: Client) -> None:
    notifier, paths = FakeNotifier(), FakePaths()
    async with working(client, notifier, paths=paths):
        error = await failed(await start(client, category="underwater basket weaving"))
    assert (error.type, paths.saved) == ("UnknownCategory", [])
    [sent] = notifier.completions
    told = sent.completion["error"]
    assert (sent.completion["status"], told["code"]) == ("FAILED", "UnknownCategory")
    assert all(name in told["message"] for name in [*CURRICULUM.names(), "underwater basket weaving", "OPENAI_API_KEY"])


async def test_a_module_without_resources_is_reported_and_does_not_fail_the_path(client: Client) -> None:
    away = ApplicationError("the search for resources answers 500", type=FailureType.RESOURCES_UNAVAILABLE)

    def act(topic: str) -> list[LearningResource] | Exception:
        answers: dict[str, list[LearningResource] | Exception] = {
            "Conditions and loops": [],
            "Functions and scope": away,
            "Text, files and paths": KeyError("secret"),
        }
        return answers.get(topic, [resource("r")])

    resources, notifier = FakeResources(act), FakeNotifier()
    async with working(client, notifier, resources=resources):
        result = await (await start(client)).result()
    why = {gap.module_id: gap.reason for gap in result.modules_without_resources}
    assert why == {
        "control-flow": "Nothing was found for this topic.",
        "functions": "the search for resources answers 500",
        "text-and-files": "a fault of this software in fetch_learning_resources: KeyError",
    }
    assert resources.asked.count("Functions and scope") == 2, "a search that fails is tried twice"
    assert result.resources_count == len(result.modules) - 3
    assert notifier.completions[0].completion["status"] == "SUCCEEDED"


async def test_no_more_searches_run_at_one_time_than_the_bound(client: Client) -> None:
    class Slow:
        running = most = 0

        async def find(self, query: ResourceQuery) -> list[LearningResource]:  # noqa: ARG002 - the port's signature
            self.running += 1
            self.most = max(self.most, self.running)
            await asyncio.sleep(0.05)
            self.running -= 1
            return [resource("r")]

    slow = Slow()
    async with working(client, FakeNotifier(), resources=slow):
        await (await start(client)).result()
    assert 1 < slow.most <= 4


async def test_an_answer_that_is_no_syllabus_is_asked_for_three_times_and_then_fails_with_its_code(client: Client) -> None:
    wrong = ApplicationError("The model's answer is no syllabus: it is empty", type=FailureType.INVALID_SYLLABUS)
    generator, notifier = FakeGenerator(lambda _: wrong), FakeNotifier()
    async with working(client, notifier, generator=generator):
        error = await failed(await start(client))
    assert (error.type, generator.calls) == ("InvalidSyllabus", 3)
    assert notifier.completions[0].completion["error"]["code"] == "InvalidSyllabus"


async def test_an_answer_that_is_right_the_second_time_makes_a_path(client: Client) -> None:
    wrong = ApplicationError("no", type=FailureType.INVALID_SYLLABUS)
    generator = FakeGenerator(lambda call: wrong if call == 1 else syllabus())
    async with working(client, FakeNotifier(), generator=generator):
        result = await (await start(client)).result()
    assert (generator.calls, len(result.modules)) == (2, 8)


async def test_prerequisites_in_a_circle_fail_the_run_instead_of_turning_for_ever(client: Client) -> None:
    good = syllabus()
    round_ = [good.modules[0].model_copy(update={"prerequisites": [good.modules[1].id]}), *good.modules[1:]]
    generator, notifier = FakeGenerator(lambda _: good.model_copy(update={"modules": round_})), FakeNotifier()
    async with working(client, notifier, generator=generator):
        error = await failed(await start(client))
    assert error.type == "InvalidSyllabus"
    assert "circle" in notifier.completions[0].completion["error"]["message"]


async def test_a_database_that_comes_back_costs_nothing_but_time(client: Client) -> None:
    away = ApplicationError("the database does not answer: gone", type=FailureType.DATABASE_UNAVAILABLE)
    paths = FakePaths(fails=lambda call: away if call < 5 else None)
    async with working(client, FakeNotifier(), paths=paths):
        result = await (await start(client)).result()
    assert (paths.saves, result.version) == (5, 1)


async def test_a_database_that_stays_away_fails_the_run_with_its_code(client: Client) -> None:
    away = ApplicationError("the database does not answer: gone", type=FailureType.DATABASE_UNAVAILABLE)
    paths, notifier = FakePaths(fails=lambda _: away), FakeNotifier()
    async with working(client, notifier, paths=paths):
        error = await failed(await start(client))
    assert (error.type, paths.saves) == ("DatabaseUnavailable", 5)
    assert notifier.completions[0].completion["result"] is None


class Held:
    """Holds each run at a port, chosen by its learning style, until it is cancelled or released."""

    def __init__(self, **port_of: str) -> None:
        self._port_of = port_of
        self.began = {port: asyncio.Event() for port in port_of.values()}
        self.stopped = {port: asyncio.Event() for port in port_of.values()}
        self.released = asyncio.Event()
        self._paths = FakePaths()

    async def _hold(self, style: str, port: str) -> None:
        if self._port_of.get(style) != port:
            return
        self.began[port].set()
        try:
            await self.released.wait()
        finally:
            self.stopped[port].set()

    async def generate(self, brief: SyllabusBrief) -> Syllabus:
        await self._hold(brief.learning_style, "generator")
        return syllabus()

    async def find(self, query: ResourceQuery) -> list[LearningResource]:
        await self._hold(query.learning_style, "resources")
        return [resource("r")]

    async def earlier(self, user_id: str, category: str, *, but: UUID) -> list[EarlierPath]:
        return await self._paths.earlier(user_id, category, but=but)

    async def save(self, path: SavePath) -> SavedPath:
        await self._hold(path.learning_style, "paths")
        return await self._paths.save(path)


@pytest.mark.parametrize("step", ["generator", "resources", "paths"])
async def test_a_run_that_is_cancelled_in_a_step_tells_so_and_stops_the_step(client: Client, step: str) -> None:
    notifier, held = FakeNotifier(), Held(balanced=step)
    async with working(client, notifier, generator=held, resources=held, paths=held):
        run = await start(client)
        await held.began[step].wait()
        await run.cancel()
        with pytest.raises(WorkflowFailureError) as raised:
            await run.result()
        await held.stopped[step].wait()
    assert isinstance(raised.value.cause, CancelledError)
    told = [(sent.completion["status"], sent.completion["error"]["code"]) for sent in notifier.completions]
    assert told == [("CANCELLED", "Cancelled")]


async def test_a_completion_is_tried_until_the_user_is_notified(client: Client) -> None:
    notifier = FakeNotifier(completion_failures=8)
    async with working(client, notifier):
        await (await start(client)).result()
    assert [sent.completion["status"] for sent in notifier.completions] == ["SUCCEEDED"]


async def test_a_worker_that_restarts_in_the_middle_makes_one_path(client: Client) -> None:
    notifier, paths, held = FakeNotifier(), FakePaths(), Held(balanced="resources")
    async with working(client, notifier, paths=paths, resources=held):
        handle = await start(client)
        await held.began["resources"].wait()
    async with working(client, notifier, paths=paths):
        result = await handle.result()
    assert (len(paths.saved), result.version) == (1, 1)
    assert await eventually(lambda: len(notifier.completions)) == 1
