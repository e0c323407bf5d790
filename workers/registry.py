"""Which queue runs which workflows and activities. A list in a package's `__init__.py` would be imported by the sandbox."""

from __future__ import annotations

from schemas import names
from workers.analysis import wiring as analysis
from workers.analysis.workflow import DataAnalysisWorkflow
from workers.domain import Domain
from workers.image import wiring as image
from workers.image.batch import BatchImageGenerationWorkflow
from workers.image.cancellable import CancellableImageGenerationWorkflow
from workers.image.workflow import ImageGenerationWorkflow
from workers.learning import wiring as learning
from workers.learning.workflow import LearningPathWorkflow
from workers.maintenance import wiring as maintenance
from workers.maintenance.workflow import MaintenanceWorkflow
from workers.transaction import wiring as transaction
from workers.transaction.workflow import TransactionalWorkflow

DOMAINS: dict[str, Domain] = {
    "image": Domain(
        {
            names.QUEUE_IMAGE: [ImageGenerationWorkflow, CancellableImageGenerationWorkflow, BatchImageGenerationWorkflow],
            names.QUEUE_HIGH_PRIORITY: [ImageGenerationWorkflow],  # a batch's children
        },
        image.activities,
    ),
    "learning": Domain({names.QUEUE_LEARNING: [LearningPathWorkflow]}, learning.activities),
    "analysis": Domain({names.QUEUE_ANALYSIS: [DataAnalysisWorkflow]}, analysis.activities, analysis.concurrency),
    "transaction": Domain({names.QUEUE_TRANSACTION: [TransactionalWorkflow]}, transaction.activities),
    "maintenance": Domain({names.QUEUE_SCHEDULED: [MaintenanceWorkflow]}, maintenance.activities),
}
