"""The domains that a worker process may run: Headrace's own, and those of the modules in HEADRACE_WORKER_MODULES."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from headrace.lifecycle import Misconfigured
from schemas.errors import bounded
from workers.domain import Domain
from workers.registry import DOMAINS

_VARIABLE = "HEADRACE_WORKER_MODULES"


def known_domains(modules: Sequence[str]) -> dict[str, Domain]:
    """By name. Raises `Misconfigured` for a module that cannot be used."""
    known = dict(DOMAINS)
    if modules and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # last: nothing there hides a package of ours
    for module in modules:
        for name, domain in _exported(module).items():
            if name in known:
                raise Misconfigured(f"{_VARIABLE}: {module} has a domain {name!r}, and there is one of that name: give it another")
            for queue in domain.queues:
                if other := next((each for each, found in known.items() if queue in found.queues), None):
                    raise Misconfigured(
                        f"{_VARIABLE}: the domain {name!r} of {module} has the queue {queue}, which is {other!r}'s: take one of its own,"
                        " for all workers of a queue must run the same"
                    )
            known[name] = domain
    return known


def _exported(module: str) -> Mapping[str, Domain]:
    try:
        found = getattr(importlib.import_module(module), "DOMAINS", None)
    except Exception as error:
        raise Misconfigured(
            f"{_VARIABLE}: {module} cannot be imported ({type(error).__name__}: {bounded(str(error), 300)}): is it installed, or below the"
            " folder in which the workers start?"
        ) from error
    if not isinstance(found, Mapping) or not all(isinstance(domain, Domain) for domain in found.values()):
        raise Misconfigured(
            f"{_VARIABLE}: {module} must have DOMAINS, a dict of names to workers.domain.Domain, as workers/registry.py has"
        )
    return found
