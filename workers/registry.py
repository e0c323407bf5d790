"""Which queue runs which workflows and activities. A list in a package's `__init__.py` would be imported by the sandbox."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from headrace.settings import Settings
from schemas import names
from workers.analysis.workflow import DataAnalysisWorkflow
from workers.domain import Activities, Domain
from workers.image.batch import BatchImageGenerationWorkflow
from workers.image.cancellable import CancellableImageGenerationWorkflow
from workers.image.workflow import ImageGenerationWorkflow
from workers.learning.workflow import LearningPathWorkflow
from workers.maintenance.workflow import MaintenanceWorkflow
from workers.transaction.workflow import TransactionalWorkflow


def _wired(domain: str) -> Callable[[Settings], AbstractAsyncContextManager[Activities]]:
    """Imported when the domain is run: a worker of one domain does without the libraries of the others."""

    def activities(settings: Settings) -> AbstractAsyncContextManager[Activities]:
        opened: AbstractAsyncContextManager[Activities] = importlib.import_module(f"workers.{domain}.wiring").activities(settings)
        return opened

    return activities


DOMAINS: dict[str, Domain] = {
    "image": Domain(
        {
            names.QUEUE_IMAGE: [ImageGenerationWorkflow, CancellableImageGenerationWorkflow, BatchImageGenerationWorkflow],
            names.QUEUE_HIGH_PRIORITY: [ImageGenerationWorkflow],  # a batch's children
        },
        _wired("image"),
    ),
    "learning": Domain({names.QUEUE_LEARNING: [LearningPathWorkflow]}, _wired("learning"), tables=True),
    "analysis": Domain(
        {names.QUEUE_ANALYSIS: [DataAnalysisWorkflow]}, _wired("analysis"), lambda settings: settings.analysis_processes, tables=True
    ),
    "transaction": Domain({names.QUEUE_TRANSACTION: [TransactionalWorkflow]}, _wired("transaction"), tables=True),
    "maintenance": Domain({names.QUEUE_SCHEDULED: [MaintenanceWorkflow]}, _wired("maintenance"), tables=True),
}
