"""Names that Temporal keeps: task queues, the notifier's activities, search attributes. Runs in flight rest on them: never renamed."""

QUEUE_NOTIFICATIONS = "project-ai-notifications"
QUEUE_IMAGE = "project-ai-image"

SEARCH_ATTRIBUTE_EVENT_ID = "EventId"
SEARCH_ATTRIBUTE_USER_ID = "UserId"
SEARCH_ATTRIBUTE_EVENT_TYPE = "EventType"

SEND_COMPLETION = "send_completion_notification"
UPDATE_HISTORY = "update_generation_history"
