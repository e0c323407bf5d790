"""Names that Temporal keeps: task queues, workflows, activities, signals, search attributes. Runs rest on them: never renamed."""

from enum import StrEnum

QUEUE_NOTIFICATIONS = "project-ai-notifications"
QUEUE_HIGH_PRIORITY = "project-ai-high-priority"
QUEUE_SCHEDULED = "project-ai-scheduled"
QUEUE_IMAGE = "project-ai-image"
QUEUE_LEARNING = "project-ai-learning"
QUEUE_ANALYSIS = "project-ai-analysis"
QUEUE_TRANSACTION = "project-ai-transaction"

SCHEDULE_MAINTENANCE = "daily-maintenance"
WORKFLOW_MAINTENANCE = "MaintenanceWorkflow"
WORKFLOW_ID_MAINTENANCE = "maintenance"

SEARCH_ATTRIBUTE_EVENT_ID = "EventId"
SEARCH_ATTRIBUTE_USER_ID = "UserId"
SEARCH_ATTRIBUTE_EVENT_TYPE = "EventType"
SEARCH_ATTRIBUTE_COMPENSATION = "Compensation"
"""Of a run whose saga takes its steps back: `pending`, then `done` or `failed`."""

SEND_COMPLETION = "send_completion_notification"
NOTIFY_USER = "notify_user"
"""The same under the name that the learning path gives it."""
UPDATE_HISTORY = "update_generation_history"

RECONCILE = "ReconcileCompletions"
NOTE_OPEN_EVENTS = "note_open_events"
COMPLETE_ENDED_RUNS = "complete_ended_runs"
RECONCILE_SCHEDULE = "headrace-reconcile"
REDRIVE_WORKFLOW = "RedriveWorkflow"
REDRIVE_DEAD_LETTERS = "redrive_dead_letters"
RERUN_WORKFLOW = "RerunFailedWorkflow"
RERUN_FAILED_RUNS = "rerun_failed_runs"
QUERY_PROGRESS = "progress"
"""Of both."""


class Action(StrEnum):
    """What a run is told to do: the `command` of the record that asks for it, and the name of the signal."""

    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
