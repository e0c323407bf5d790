"""Routes held against what the workers run: `python -m workers.check [FILE] [--json]`, which is `headrace route check`.

At the start of every worker process too: a route to a workflow that nobody runs would let its events wait for ever without a word.
"""

from __future__ import annotations

import argparse
import inspect
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from temporalio import workflow

from headrace.lifecycle import Misconfigured, leave
from headrace.settings import Settings, SettingsError, load
from schemas.models import REQUESTS
from schemas.request import Accepted, Request
from schemas.routes import Route, RouteError, Routes, load_routes
from schemas.topics import Topics
from workers.domain import Domain
from workers.modules import known_domains


@dataclass(frozen=True, slots=True)
class Checked:
    """One route, and what is wrong with it."""

    route: str
    topic: str
    workflow: str
    task_queue: str
    completion: str | None
    """Full name of the completion record; None: its sender is told nothing."""
    worker: str | None
    """The domain whose workers serve it; None: one elsewhere."""
    problem: str | None


def check(routes: Routes, domains: Mapping[str, Domain], topics: Topics) -> list[Checked]:
    """Every route, in the order of the file."""
    catalog = routes.catalog()
    found = []
    for route in routes.all():
        completion = f"{route.record.removesuffix('Requested')}Completed"
        worker = next((name for name, domain in domains.items() if route.task_queue in domain.queues), None)
        found.append(
            Checked(
                route=route.record,
                topic=topics.requests(route.domain),
                workflow=route.workflow,
                task_queue=route.task_queue,
                completion=completion if catalog.by_name(completion) else None,
                worker=None if route.elsewhere else worker,
                problem=None if route.elsewhere else _problem(route, domains),
            )
        )
    return found


def hold(routes: Routes, domains: Mapping[str, Domain]) -> None:
    """Raises `Misconfigured` that names every route with a problem."""
    problems = [each.problem for each in check(routes, domains, Topics()) if each.problem is not None]
    if problems:
        raise Misconfigured("the routes and the workers do not fit together: " + "; ".join(problems))


def _problem(route: Route, domains: Mapping[str, Domain]) -> str | None:
    queues = {queue: workflows for domain in domains.values() for queue, workflows in domain.queues.items()}
    on = [queue for queue, workflows in queues.items() if route.workflow in map(_name, workflows)]
    if not on:
        return (
            f"{route.record} starts {route.workflow}, which no worker has; there are {_listed(queues)}. Correct the route, name"
            " its module in HEADRACE_WORKER_MODULES, or say elsewhere = true in the route of a worker that is none of these"
        )
    if route.task_queue not in on:
        return f"{route.record} starts {route.workflow} on the queue {route.task_queue}, but its workers listen on {', '.join(on)}"
    [run] = [each for each in queues[route.task_queue] if _name(each) == route.workflow]
    return _model_problem(route, run)


def _model_problem(route: Route, run: type) -> str | None:
    """Whether the workflow can read the argument that the ingress gives it: what it cannot would stop the run before its first step."""
    definition = workflow._Definition.must_from_class(run)  # noqa: SLF001 - the SDK has no other way to ask
    annotation: Any = definition.arg_types[0] if definition.arg_types else None
    # Not even a second one with a default: the SDK then decodes the first, which comes alone, without its type.
    more = list(inspect.signature(definition.run_fn).parameters.values())[2:]
    if annotation is None or more:
        return f"{route.workflow} of {route.record} must take one argument with an annotation, accepted: Accepted[...]"
    model, wanted = _model_of(annotation), REQUESTS.get(route.record)
    if wanted is not None:
        same = model is not None and issubclass(wanted, model) and wanted.model_fields.keys() == model.model_fields.keys()
        return None if same else f"{route.workflow} takes {_spelt(annotation)}, but the model of {route.record} is {wanted.__name__}"
    if model is not None:
        return _fields_problem(route, model)
    if annotation is Any or annotation is dict or get_origin(annotation) is dict:
        return None
    return (
        f"{route.workflow} of {route.record} takes {_spelt(annotation)}: the ingress gives it schemas.request.Accepted[the request's model]"
    )


def _fields_problem(route: Route, model: type[Request]) -> str | None:
    """A team's own model beside its `.avsc`."""
    fields = {field["name"] for field in route.schema.parsed["fields"]}
    needed = {name for name, field in model.model_fields.items() if field.is_required()}
    unread = set() if model.model_config.get("extra") in ("allow", "ignore") else fields - model.model_fields.keys()
    if needed - fields:
        return f"{model.__name__} of {route.workflow} needs {_sorted(needed - fields)}, which {route.record} does not have"
    if unread:
        return f"{route.record} has {_sorted(unread)}, which {model.__name__} of {route.workflow} refuses: add the fields to it"
    return None


def _model_of(annotation: Any) -> type[Request] | None:
    """`M` of `Accepted[M]` or a subclass, which may have more for runs that continue as new; also where it may be None, for a schedule."""
    if isinstance(annotation, UnionType) or get_origin(annotation) is Union:
        annotation = next((each for each in get_args(annotation) if each is not NoneType), None)
    if not isinstance(annotation, type) or not issubclass(annotation, Accepted):
        return None
    model = annotation.model_fields["request"].annotation
    return model if isinstance(model, type) and issubclass(model, Request) else None


def _spelt(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _name(run: type) -> str | None:
    return workflow._Definition.must_from_class(run).name  # noqa: SLF001 - as above


def _listed(queues: Mapping[str, Iterable[type]]) -> str:
    return ", ".join(sorted({name for workflows in queues.values() for each in workflows if (name := _name(each))}))


def _sorted(names: set[str]) -> str:
    return ", ".join(sorted(names))


def _line(each: Checked) -> str:
    if each.problem is not None:
        return f"wrong  {each.problem}"
    told = each.completion or "nothing: the route names no completion"
    served = f"by {each.worker}" if each.worker else "elsewhere"
    return f"ok     {each.route} on {each.topic}: {each.workflow} on {each.task_queue}, served {served}; tells {told}"


def main(arguments: list[str]) -> int:
    """The exit code: 0, 1 when a route is wrong or the file cannot be used, 2 for settings that cannot."""
    parser = argparse.ArgumentParser(prog="headrace route check")
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    try:
        settings: Settings = load()
        routes = load_routes(given.file or settings.routes_file)
        found = check(routes, known_domains(settings.worker_modules), Topics(settings.topic_prefix))
    except (SettingsError, RouteError, Misconfigured) as error:
        sys.stderr.write(f"headrace: {error}\n")
        return 2 if isinstance(error, SettingsError) else 1
    for each in found:
        sys.stdout.write(f"{json.dumps(asdict(each)) if given.json else _line(each)}\n")
    return 1 if any(each.problem for each in found) else 0


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
