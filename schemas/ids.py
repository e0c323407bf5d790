"""Identities derived from a request. They are what one event, one workflow, one completion rests on: these formats never change."""

from uuid import UUID, uuid5

# Made once, for Headrace. Changing it would give every repeated completion a new identity.
_NAMESPACE = UUID("0f4b7f4e-3c1d-5d0a-9f53-6b1f3f0c8a17")


def workflow_id(domain: str, event_id: UUID) -> str:
    """The workflow of an event: `<domain>-<event_id>`, the UUID in lower case with hyphens."""
    return f"{domain}-{event_id}"


def completion_id(event_id: UUID, generation: int = 1) -> UUID:
    """The completion of an accepted event, the same however often it is published; each generation of it has its own."""
    return uuid5(_NAMESPACE, f"completion:{event_id}{_of(generation)}")


def rejection_id(event_id: UUID, value_sha256: str) -> UUID:
    """The completion of a refused record.

    It depends on the record's bytes too: a bad record that borrows the event ID of an accepted one must not pass for that one's completion.
    """
    return uuid5(_NAMESPACE, f"rejection:{event_id}:{value_sha256}")


def batch_item_id(event_id: UUID, index: int) -> UUID:
    """The event of one prompt of a batch, by its index from 0."""
    return uuid5(_NAMESPACE, f"batch:{event_id}:{index}")


def batch_child_id(batch_workflow_id: str, index: int, generation: int = 1) -> str:
    """The workflow of one prompt of a batch. Those of an earlier generation have run, and are not run twice."""
    return f"batch-image-{batch_workflow_id}{_of(generation)}-{index}"


def transaction_id(workflow_id: str, generation: int = 1) -> str:
    """What a purchase is in the books. A failed generation's steps are taken back for good, so the next one has a name of its own."""
    return f"{workflow_id}{_of(generation)}"


def path_id(event_id: UUID) -> UUID:
    """The learning path of an accepted event."""
    return uuid5(_NAMESPACE, f"path:{event_id}")


def analysis_id(event_id: UUID) -> UUID:
    """The analysis that a request asked for."""
    return uuid5(_NAMESPACE, f"analysis:{event_id}")


def history_id(event_id: UUID, generation: int = 1) -> UUID:
    """The history entry of an accepted event, one for each generation."""
    return uuid5(_NAMESPACE, f"history:{event_id}{_of(generation)}")


def dead_letter_id(topic: str, partition: int, offset: int, time: str) -> UUID:
    """A record in a dead-letter topic. Its time (`dlq_time`) tells it from one of a topic that was made anew under the same name."""
    return uuid5(_NAMESPACE, f"dead-letter:{topic}:{partition}:{offset}:{time}")


def _of(generation: int) -> str:
    """Nothing for the first: its IDs are those of the time before there were generations."""
    return "" if generation == 1 else f":{generation}"
