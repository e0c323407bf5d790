"""The breaker trips at its thresholds, not before, whatever the order in which records end; and begins afresh after a reset."""

from __future__ import annotations

import random
from fractions import Fraction

from hypothesis import example, given
from hypothesis import strategies as st

from ingress.breaker import Breaker

CAPACITY = 50


class Naive:
    """Every record since the beginning, counted anew each time."""

    def __init__(self, window: int, share: Fraction, consecutive: int) -> None:
        self.window, self.share, self.consecutive = window, share, consecutive
        self.dead: list[bool] = []
        self.tripped = False

    def over(self, number: int) -> bool:
        last = max(place for place, dead in enumerate(self.dead) if dead)
        window = self.dead[max(0, last + 1 - self.window) : last + 1]
        if last + 1 >= self.window and Fraction(sum(window), self.window) >= self.share:
            return True
        around = [self.dead[begin : begin + self.consecutive] for begin in range(max(0, number - self.consecutive + 1), number + 1)]
        return any(len(row) == self.consecutive and all(row) for row in around)

    def dead_lettered(self, number: int) -> bool:
        self.dead[number] = True
        trips = not self.tripped and self.over(number)
        self.tripped |= trips
        return trips


@given(
    st.lists(st.booleans(), max_size=300), st.integers(2, 30), st.integers(1, 100), st.integers(1, 40), st.randoms(use_true_random=False)
)
def test_it_trips_exactly_when_a_naive_count_does(
    bad: list[bool], window: int, percent: int, consecutive: int, chance: random.Random
) -> None:
    breaker = Breaker(window=window, share=percent / 100, consecutive=consecutive, capacity=CAPACITY)
    naive = Naive(window, Fraction(percent, 100), consecutive)
    waiting: list[int] = []
    for is_bad in bad:
        number = breaker.enter()
        assert number == len(naive.dead)
        naive.dead.append(False)
        if is_bad:
            waiting.append(number)
        # Some end at once, some later, in any order, but never more than the capacity later.
        while waiting and (chance.random() < 0.5 or number - waiting[0] >= CAPACITY - 1):
            ending = waiting.pop(0 if number - waiting[0] >= CAPACITY - 1 else chance.randrange(len(waiting)))
            assert (breaker.dead_lettered(ending) is not None) is naive.dead_lettered(ending)
        if naive.tripped and chance.random() < 0.1:
            breaker.reset()
            naive.dead, naive.tripped = [False] * len(naive.dead), False


@given(st.integers(1, 300), st.integers(0, 300), st.randoms(use_true_random=False))
def test_so_many_in_a_row_trip_it_and_one_fewer_never_does(consecutive: int, good_before: int, chance: random.Random) -> None:
    breaker = Breaker(window=10_000, share=1.0, consecutive=consecutive, capacity=1000)
    for _ in range(good_before):
        breaker.enter()
    for _ in range(3):
        for number in [breaker.enter() for _ in range(consecutive - 1)]:
            assert breaker.dead_lettered(number) is None
        breaker.enter()
    row = [breaker.enter() for _ in range(consecutive)]
    chance.shuffle(row)
    assert [breaker.dead_lettered(number) for number in row] == [None] * (consecutive - 1) + [f"{consecutive} dead letters in a row"]


@given(st.integers(2, 300), st.integers(1, 100), st.randoms(use_true_random=False))
@example(100, 7, random.Random(1))  # noqa: S311 - and 0.07 * 100 is a little more than 7
def test_its_share_of_a_full_window_trips_it_and_a_smaller_one_never_does(window: int, percent: int, chance: random.Random) -> None:
    many = max(1, -(-percent * window // 100))
    order = [True] * (many - 1) + [False] * (window - many + 1)
    chance.shuffle(order)
    breaker = Breaker(window=window, share=percent / 100, consecutive=10_000, capacity=1000)
    # The same window over and over has always the same share, wherever it is cut.
    for dead in 3 * order:
        number = breaker.enter()
        assert not dead or breaker.dead_lettered(number) is None
    said = [breaker.dead_lettered(breaker.enter()) for _ in range(window)]
    assert [each for each in said if each is not None] == [f"{many} dead letters among {window} records"]


def test_bad_records_that_overtake_the_good_ones_between_them_are_no_row() -> None:
    breaker = Breaker(window=1000, share=0.5, consecutive=5, capacity=1000)
    # As in one fetch: every third is bad and ends at once, the others wait for Temporal.
    numbers = [breaker.enter() for _ in range(300)]
    assert {breaker.dead_lettered(number) for number in numbers[::3]} == {None}


def test_what_was_held_back_counts_after_a_reset() -> None:
    breaker = Breaker(window=200, share=0.5, consecutive=2, capacity=10)
    numbers = [breaker.enter() for _ in range(6)]
    assert [breaker.dead_lettered(number) for number in numbers[:3]] == [None, "2 dead letters in a row", None]
    breaker.reset()
    assert [breaker.dead_lettered(number) for number in numbers[3:]] == [None, "2 dead letters in a row", None]


def test_a_half_empty_window_does_not_trip_it() -> None:
    breaker = Breaker(window=10, share=0.5, consecutive=50, capacity=10)
    assert [breaker.dead_lettered(breaker.enter()) for _ in range(9)] == [None] * 9
    assert breaker.dead_lettered(breaker.enter()) == "10 dead letters among 10 records"
