"""Which queue runs which workflows and activities. A list in a package's `__init__.py` would be imported by the sandbox."""

from __future__ import annotations

from schemas import names
from workers.domain import Domain
from workers.image import wiring as image
from workers.image.batch import BatchImageGenerationWorkflow
from workers.image.cancellable import CancellableImageGenerationWorkflow
from workers.image.workflow import ImageGenerationWorkflow
from workers.learning import wiring as learning
from workers.learning.workflow import LearningPathWorkflow

DOMAINS: dict[str, Domain] = {
    "image": Domain(
        {
            names.QUEUE_IMAGE: [ImageGenerationWorkflow, CancellableImageGenerationWorkflow, BatchImageGenerationWorkflow],
            names.QUEUE_HIGH_PRIORITY: [ImageGenerationWorkflow],  # a batch's children
        },
        image.activities,
    ),
    "learning": Domain({names.QUEUE_LEARNING: [LearningPathWorkflow]}, learning.activities),
}
