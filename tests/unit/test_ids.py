"""Formats pinned by literal expectations: a red test here means that events in flight lose their identity. Never change the expectation."""

from __future__ import annotations

from uuid import UUID

from schemas import ids
from schemas.completion import completion_record
from schemas.topics import Topics
from workers.analysis.logic import result_key, scratch_key
from workers.analysis.models import Draw

EVENT = UUID("6F9619FF-8B86-4D01-B42D-00CF4FC964FF")
SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_workflow_id_keeps_its_format() -> None:
    assert ids.workflow_id("image", EVENT) == "image-6f9619ff-8b86-4d01-b42d-00cf4fc964ff"


def test_completion_id_keeps_its_derivation() -> None:
    assert ids.completion_id(EVENT) == UUID("b1681d61-b821-50f1-82be-46ad2376adbd")


def test_rejection_id_keeps_its_derivation_and_is_of_the_bytes_too() -> None:
    assert ids.rejection_id(EVENT, SHA256) == UUID("425a5a86-c859-5b07-acac-f2138ddd647a")
    assert ids.rejection_id(EVENT, "0" * 64) != ids.rejection_id(EVENT, SHA256) != ids.completion_id(EVENT)


def test_history_id_keeps_its_derivation() -> None:
    assert ids.history_id(EVENT) == UUID("fd0d74ff-5123-501c-b40e-c86c9a2fcf50")


def test_topics_keep_their_names() -> None:
    topics = Topics()
    assert topics.requests("image") == "image.requests"
    assert topics.completions("image") == "image.completions"
    assert topics.dead_letters("image.requests") == "image.requests.dlq"
    assert topics.history == "history"


def test_a_prefix_is_put_in_front_as_it_is_and_only_once() -> None:
    topics = Topics("staging.")
    assert topics.completions("image") == "staging.image.completions"
    assert topics.dead_letters(topics.requests("image")) == "staging.image.requests.dlq"
    assert topics.history == "staging.history"


def test_completion_record_keeps_its_name() -> None:
    assert completion_record("headrace.image.ImageGenerationRequested") == "headrace.image.ImageGenerationCompleted"
    assert completion_record("acme.billing.Invoice") == "acme.billing.InvoiceCompleted"


def test_a_later_generation_has_ids_of_its_own_and_the_first_those_of_ever() -> None:
    assert ids.completion_id(EVENT, 1) == ids.completion_id(EVENT)
    assert ids.history_id(EVENT, 1) == ids.history_id(EVENT)
    assert ids.completion_id(EVENT, 2) == UUID("24715d30-6ecf-5974-9a16-82ecc233e48b")
    assert ids.history_id(EVENT, 2) == UUID("4df50742-640b-505d-a105-aa3396f69f9d")
    assert [ids.batch_child_id("image-e", 7, number) for number in (1, 2)] == ["batch-image-image-e-7", "batch-image-image-e:2-7"]
    assert [ids.transaction_id("transaction-e", number) for number in (1, 2)] == ["transaction-e", "transaction-e:2"]
    assert [result_key(EVENT, number, "a") for number in (1, 2)] == [f"analyses/{EVENT}/a", f"analyses/{EVENT}/2/a"]
    assert [scratch_key(EVENT, number, "a") for number in (1, 2)] == [f"tmp/analyses/{EVENT}/a", f"tmp/analyses/{EVENT}/2/a"]


def test_a_first_generations_arguments_are_those_that_a_worker_of_the_version_before_reads() -> None:
    assert "generation" not in Draw(event_id=EVENT, exploration_key="k").model_dump_json()
    assert '"generation":2' in Draw(event_id=EVENT, exploration_key="k", generation=2).model_dump_json()


def test_dead_letter_id_keeps_its_derivation_and_tells_topics_of_one_name_apart() -> None:
    assert ids.dead_letter_id("t.dlq", 1, 2, "2026-01-01T00:00:00.000Z") == UUID("679708b6-cfc6-564a-994f-b8c70e091387")
    assert ids.dead_letter_id("t.dlq", 1, 2, "2026-01-01T00:00:00.001Z") != ids.dead_letter_id("t.dlq", 1, 2, "2026-01-01T00:00:00.000Z")
