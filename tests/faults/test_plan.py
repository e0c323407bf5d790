"""A seed is its plan: the same today and tomorrow."""

from __future__ import annotations

from collections import Counter

from schemas import codec
from tests.faults.history import Bad, Good, Signal
from tests.faults.load import CATALOG, REQUESTED, framed, long_form, upper_case
from tests.faults.plan import WEIGHTS, draw

PLANS = [draw(seed, "0123abcd") for seed in range(200)]


def test_a_seed_that_is_run_again_is_the_same_plan() -> None:
    assert [draw(seed, "0123abcd") for seed in range(20)] == PLANS[:20]
    assert draw(1, "0123abcd") != draw(2, "0123abcd")


def test_another_run_of_a_seed_brings_other_events_in_the_same_order() -> None:
    again = draw(3, "ffffffff")
    assert [(sent.partition, sent.key, sent.late, sent.command) for sent in again.load.records if not sent.command] == [
        (sent.partition, sent.key, sent.late, sent.command) for sent in PLANS[3].load.records if not sent.command
    ]
    ids = [{sent.expected.event_id for sent in plan.load.records} - {None} for plan in (again, PLANS[3])]
    assert not ids[0] & ids[1]


def test_two_hundred_seeds_leave_no_fault_and_no_kind_of_record_out() -> None:
    assert {fault.name for plan in PLANS for fault in plan.faults} == set(WEIGHTS)
    expected = [sent.expected for plan in PLANS for sent in plan.load.records]
    reasons = Counter(each.reason for each in expected if isinstance(each, Bad))
    wanted = {"undecodable", "unknown_schema", "unroutable", "invalid", "too_large", "rejected_by_temporal", "unknown_target"}
    assert set(reasons) == wanted
    assert sum(isinstance(each, Signal) for each in expected) > 100
    contents = Counter(each.event_id for each in {each for each in expected if isinstance(each, Good)})
    assert sum(count > 1 for count in contents.values()) > 100, "conflicts"
    assert {plan.reread for plan in PLANS} == {True, False}


def test_other_bytes_of_the_same_request_mean_the_same() -> None:
    sent = next(sent for sent in PLANS[0].load.records if isinstance(sent.expected, Good))
    assert sent.value is not None
    schema = CATALOG.named(REQUESTED)
    value = codec.decode_body(sent.value[10:], schema)
    assert sent.value == framed(value)
    for other in (long_form(sent.value), upper_case(sent.value)):
        assert other != sent.value
        assert codec.decode_body(other[10:], schema) == value
