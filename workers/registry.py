"""Which queue runs which workflows and activities. A list in a package's `__init__.py` would be imported by the sandbox."""

from __future__ import annotations

from schemas import names
from workers.domain import Domain
from workers.image import wiring as image
from workers.image.workflow import ImageGenerationWorkflow
from workers.maintenance import wiring as maintenance
from workers.maintenance.workflow import MaintenanceWorkflow

DOMAINS: dict[str, Domain] = {
    "image": Domain({names.QUEUE_IMAGE: [ImageGenerationWorkflow]}, image.activities),
    "maintenance": Domain({names.QUEUE_SCHEDULED: [MaintenanceWorkflow]}, maintenance.activities),
}
