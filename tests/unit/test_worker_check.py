"""Routes and workers that do not fit together: each is a sentence that says what to do, before the first event waits for ever."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ConfigDict
from temporalio import workflow

from headrace.lifecycle import Misconfigured
from headrace.settings import Settings
from schemas.image import ImageGenerationRequested
from schemas.request import Accepted, Request
from schemas.routes import load_routes
from schemas.topics import Topics
from workers import check
from workers.domain import Activities, Domain
from workers.modules import known_domains

FOLDER = Path(__file__).parents[2] / "docs" / "examples" / "own_workflow"
RECORD = "acme.orders.OrderRequested"


class Order(Request):
    item: str
    quantity: int = 1


class Narrow(Request):
    model_config = ConfigDict(extra="forbid")

    item: str


class Frugal(Request):
    """Leaves out what it does not need, as every model does unless it says otherwise."""

    item: str


class Wide(Order):
    colour: str


class AcceptedOrder(Accepted[Order]):
    done: int = 0


@workflow.defn(name="OrderWorkflow")
class Orders:
    @workflow.run
    async def run(self, accepted: Accepted[Order]) -> None: ...


@workflow.defn(name="OrderWorkflow")
class Continues:
    @workflow.run
    async def run(self, accepted: AcceptedOrder) -> None: ...


@workflow.defn(name="OrderWorkflow")
class HasADefault:
    @workflow.run
    async def run(self, accepted: Accepted[Order], done: int = 0) -> None: ...


@workflow.defn(name="OrderWorkflow")
class TakesTwo:
    @workflow.run
    async def run(self, accepted: Accepted[Order], colour: str) -> None: ...


@workflow.defn(name="OrderWorkflow")
class Unannotated:
    @workflow.run
    async def run(self, accepted) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001


@workflow.defn(name="OrderWorkflow")
class Narrows:
    @workflow.run
    async def run(self, accepted: Accepted[Narrow]) -> None: ...


@workflow.defn(name="OrderWorkflow")
class IsFrugal:
    @workflow.run
    async def run(self, accepted: Accepted[Frugal]) -> None: ...


@workflow.defn(name="OrderWorkflow")
class Widens:
    @workflow.run
    async def run(self, accepted: Accepted[Wide]) -> None: ...


@workflow.defn(name="OrderWorkflow")
class Plain:
    @workflow.run
    async def run(self, accepted: dict[str, Any]) -> None: ...


@workflow.defn(name="OrderWorkflow")
class Other:
    @workflow.run
    async def run(self, accepted: Order) -> None: ...


@workflow.defn(name="ImageGenerationWorkflow")
class WrongImage:
    @workflow.run
    async def run(self, accepted: Accepted[Order]) -> None: ...


@contextlib.asynccontextmanager
async def none(settings: Settings) -> AsyncIterator[Activities]:  # noqa: ARG001 - what a domain has
    yield []


def domains(*workflows: type, queue: str = "acme-orders") -> dict[str, Domain]:
    return {**known_domains([]), "orders": Domain({queue: workflows}, none)}


def problems(routes: Path, found: dict[str, Domain]) -> dict[str, str]:
    return {each.route: each.problem for each in check.check(load_routes(routes), found, Topics()) if each.problem is not None}


@pytest.fixture
def routes(tmp_path: Path) -> Path:
    for name in ("OrderRequested.avsc", "OrderCompleted.avsc", "routes.toml"):
        (tmp_path / name).write_text((FOLDER / name).read_text())
    return tmp_path / "routes.toml"


def test_every_route_that_ships_is_served_by_the_workers_that_ship() -> None:
    found = check.check(load_routes(), known_domains([]), Topics())
    assert [each.problem for each in found if each.problem is not None] == []
    assert [each.route for each in found if each.worker is None or each.completion is None] == []


@pytest.mark.parametrize("run", [Orders, Plain, Continues, IsFrugal])
def test_a_workflow_that_takes_what_the_ingress_gives_is_right(routes: Path, run: type) -> None:
    assert problems(routes, domains(run)) == {}
    check.hold(load_routes(routes), domains(run))


@pytest.mark.parametrize(
    ("run", "says"),
    [
        (Unannotated, "OrderWorkflow of acme.orders.OrderRequested must take one argument with an annotation, accepted: Accepted[...]"),
        (TakesTwo, "OrderWorkflow of acme.orders.OrderRequested must take one argument"),
        (HasADefault, "OrderWorkflow of acme.orders.OrderRequested must take one argument"),
        (Narrows, "acme.orders.OrderRequested has quantity, which Narrow of OrderWorkflow refuses: add the fields to it"),
        (Widens, "Wide of OrderWorkflow needs colour, which acme.orders.OrderRequested does not have"),
        (Other, "the ingress gives it schemas.request.Accepted[the request's model]"),
    ],
)
def test_a_model_that_would_stop_the_run_before_its_first_step(routes: Path, run: type, says: str) -> None:
    assert says in problems(routes, domains(run))[RECORD]
    with pytest.raises(Misconfigured, match="the routes and the workers do not fit together: "):
        check.hold(load_routes(routes), domains(run))


def test_a_workflow_that_nobody_has(routes: Path) -> None:
    says = problems(routes, known_domains([]))[RECORD]
    assert "starts OrderWorkflow, which no worker has; there are " in says
    assert "ImageGenerationWorkflow" in says
    assert "HEADRACE_WORKER_MODULES" in says


def test_a_queue_on_which_nobody_listens_for_it(routes: Path) -> None:
    says = problems(routes, domains(Orders, queue="acme-order"))[RECORD]
    assert says == f"{RECORD} starts OrderWorkflow on the queue acme-orders, but its workers listen on acme-order"


def test_a_worker_in_another_language_is_not_looked_for(routes: Path) -> None:
    routes.write_text(routes.read_text() + "elsewhere = true\n")
    assert problems(routes, known_domains([])) == {}


def test_a_workflow_of_ours_that_takes_another_record(routes: Path) -> None:
    found = {**domains(Orders), "image": Domain({"project-ai-image": [WrongImage]}, none)}
    says = problems(routes, found)["headrace.image.ImageGenerationRequested"]
    assert says.endswith(f"but the model of headrace.image.ImageGenerationRequested is {ImageGenerationRequested.__name__}")


def module(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> str:
    (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


IMPORTS = "from workers.domain import Domain\nasync def none(settings):\n    yield []\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import no_such_thing", "cannot be imported (ModuleNotFoundError: No module named 'no_such_thing')"),
        ("1 / 0", "cannot be imported (ZeroDivisionError: division by zero)"),
        ("x = 1", "must have DOMAINS, a dict of names to workers.domain.Domain"),
        ("DOMAINS = {'orders': 1}", "must have DOMAINS, a dict of names to workers.domain.Domain"),
        (f"{IMPORTS}DOMAINS = {{'image': Domain({{'q': []}}, none)}}", "has a domain 'image', and there is one of that name"),
        (f"{IMPORTS}DOMAINS = {{'x': Domain({{'project-ai-image': []}}, none)}}", "has the queue project-ai-image, which is 'image''s"),
        (f"{IMPORTS}DOMAINS = {{'x': Domain({{'q': []}}, none), 'y': Domain({{'q': []}}, none)}}", "has the queue q, which is 'x''s"),
    ],
)
def test_a_module_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, says: str) -> None:
    name = module(tmp_path, monkeypatch, "acme_wrong", text)
    with pytest.raises(Misconfigured) as caught:
        known_domains([name])
    assert str(caught.value).startswith("HEADRACE_WORKER_MODULES: ")
    assert says in str(caught.value)


def test_the_command_prints_a_line_for_each_route_and_ends_with_1_when_one_is_wrong(
    routes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("HEADRACE_STATE_DIR", str(tmp_path))
    assert check.main([]) == 0
    assert [line[:3] for line in capsys.readouterr().out.splitlines()] == ["ok "] * len(load_routes().all())
    assert check.main([str(routes), "--json"]) == 1
    found = {line["route"]: line for line in map(json.loads, capsys.readouterr().out.splitlines())}
    assert found.keys() == {route.record for route in load_routes(routes).all()}
    assert (found[RECORD]["topic"], found[RECORD]["completion"], found[RECORD]["worker"]) == (
        "orders.requests",
        "acme.orders.OrderCompleted",
        None,
    )
    assert "which no worker has" in found[RECORD]["problem"]
    assert check.main([str(tmp_path / "none.toml")]) == 1
    assert "none.toml cannot be read" in capsys.readouterr().err
    monkeypatch.setenv("HEADRACE_WORKER_MODULES", "no.such")
    assert check.main([]) == 1
    assert "no.such cannot be imported" in capsys.readouterr().err
    monkeypatch.setenv("HEADRACE_HEALTH_PORT", "none")
    assert check.main([]) == 2
