"""The pydantic model of each record, by the record's full name."""

from typing import Any

from schemas.analysis import DataAnalysisCompleted, DataAnalysisRequested
from schemas.command import COMMAND, WorkflowCommandIssued
from schemas.completion import Completion, History
from schemas.image import (
    BatchImageGenerationCompleted,
    BatchImageGenerationRequested,
    CancellableImageGenerationRequested,
    ImageGenerationCompleted,
    ImageGenerationRequested,
)
from schemas.learning import LearningPathCompleted, LearningPathRequested
from schemas.maintenance import MaintenanceCompleted, MaintenanceRequested
from schemas.request import Request
from schemas.transaction import TransactionCompleted, TransactionRequested

HISTORY = "headrace.history.HistoryRecorded"

REQUESTS: dict[str, type[Request]] = {
    "headrace.image.ImageGenerationRequested": ImageGenerationRequested,
    "headrace.image.CancellableImageGenerationRequested": CancellableImageGenerationRequested,
    "headrace.image.BatchImageGenerationRequested": BatchImageGenerationRequested,
    "headrace.learning.LearningPathRequested": LearningPathRequested,
    "headrace.analysis.DataAnalysisRequested": DataAnalysisRequested,
    "headrace.transaction.TransactionRequested": TransactionRequested,
    "headrace.maintenance.MaintenanceRequested": MaintenanceRequested,
}

COMMANDS: dict[str, type[WorkflowCommandIssued]] = {COMMAND: WorkflowCommandIssued}
"""Requests too, but to a run: they start nothing, and are not completed."""

COMPLETIONS: dict[str, type[Completion[Any]]] = {
    "headrace.image.ImageGenerationCompleted": ImageGenerationCompleted,
    "headrace.image.CancellableImageGenerationCompleted": ImageGenerationCompleted,
    "headrace.image.BatchImageGenerationCompleted": BatchImageGenerationCompleted,
    "headrace.learning.LearningPathCompleted": LearningPathCompleted,
    "headrace.analysis.DataAnalysisCompleted": DataAnalysisCompleted,
    "headrace.transaction.TransactionCompleted": TransactionCompleted,
    "headrace.maintenance.MaintenanceCompleted": MaintenanceCompleted,
}

EVENTS: dict[str, type[History]] = {HISTORY: History}
