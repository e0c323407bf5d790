"""The pydantic model of each record, by the record's full name."""

from typing import Any

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
from schemas.request import Request

HISTORY = "headrace.history.HistoryRecorded"

REQUESTS: dict[str, type[Request]] = {
    "headrace.image.ImageGenerationRequested": ImageGenerationRequested,
    "headrace.image.CancellableImageGenerationRequested": CancellableImageGenerationRequested,
    "headrace.image.BatchImageGenerationRequested": BatchImageGenerationRequested,
    "headrace.learning.LearningPathRequested": LearningPathRequested,
}

COMMANDS: dict[str, type[WorkflowCommandIssued]] = {COMMAND: WorkflowCommandIssued}
"""Requests too, but to a run: they start nothing, and are not completed."""

COMPLETIONS: dict[str, type[Completion[Any]]] = {
    "headrace.image.ImageGenerationCompleted": ImageGenerationCompleted,
    "headrace.image.CancellableImageGenerationCompleted": ImageGenerationCompleted,
    "headrace.image.BatchImageGenerationCompleted": BatchImageGenerationCompleted,
    "headrace.learning.LearningPathCompleted": LearningPathCompleted,
}

EVENTS: dict[str, type[History]] = {HISTORY: History}
