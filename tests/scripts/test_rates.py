"""What rates let through, beside a plain reference, by a clock that the test sets."""

from fractions import Fraction

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from restms_cluster.transitions import RateTake
from tests.leaks import LIBRARY, run
from tests.scripts.conftest import Run

START = 1_700_000_000_000_000
SECOND = 1_000_000

# Costs, each after a pause in microseconds.
STEPS = st.lists(
    st.tuples(st.integers(0, 3 * SECOND), st.integers(-2, 12)),
    max_size=40,
)


class Reference:
    """The virtual scheduling algorithm of ITU-T I.371, in exact fractions.

    The bucket is whole again at `due`; no emission may come earlier than its tolerance.
    """

    def __init__(self, quota: int, window: int) -> None:
        self.each = Fraction(window, quota)
        self.window = window
        self.due = Fraction(0)
        self.now = 0

    def take(self, now: int, cost: int) -> bool:
        # Where nothing is missing there is nothing that a clock set back could spoil.
        self.now = max(self.now, now) if self.due > self.now else now
        due = max(max(self.due, self.now) + cost * self.each, Fraction(self.now))
        if cost > 0 and due - self.now > self.window:
            return False
        self.due = due if due > self.now else Fraction(0)  # a whole bucket is not kept
        return True


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(quota=st.integers(1, 10), window=st.sampled_from([1, 3, 7]), steps=STEPS)
def test_a_rate_lets_through_what_the_reference_does(
    client: "redis.Redis[bytes]", quota: int, window: int, steps: list[tuple[int, int]]
) -> None:
    reference, now, granted = Reference(quota, window * SECOND), START, 0
    client.delete("restms:{default}:rate:a")
    for pause, cost in steps:
        now += pause
        wanted = reference.take(now, cost)
        word, left, full, *after = run(
            client, RateTake("default", str(now), "a", quota, window * SECOND, cost)
        )
        assert (word == "ok") == wanted
        missing = reference.due - reference.now if reference.due > reference.now else Fraction(0)
        assert left == (window * SECOND - missing) // reference.each
        if missing:
            assert full == -(-missing // 1) + reference.now - now
        if after:  # then, and not before, it would be granted
            assert Fraction(after[0]) >= missing + cost * reference.each - window * SECOND
        granted += cost if wanted and cost > 0 else 0
        if cost < 0:
            return  # what is given back may be had again


@given(
    quota=st.integers(1, 10),
    steps=st.lists(st.tuples(st.integers(0, SECOND), st.integers(1, 5)), min_size=20, max_size=40),
)
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_more_comes_through_than_the_rate_and_one_quota(
    client: "redis.Redis[bytes]", quota: int, steps: list[tuple[int, int]]
) -> None:
    client.delete("restms:{default}:rate:a")
    now, granted = START, 0
    for pause, cost in steps:
        now += pause
        if run(client, RateTake("default", str(now), "a", quota, SECOND, cost))[0] == "ok":
            granted += cost
        assert granted <= quota + Fraction(quota * (now - START), SECOND)


def test_who_is_told_when_may_come_then(do: Run) -> None:
    def take(at: int) -> list[object]:
        return list(do(RateTake("default", str(START + at), "a", 2, SECOND, 1)))

    assert take(0) == ["ok", 1, SECOND // 2]
    assert take(0) == ["ok", 0, SECOND]
    assert take(100_000) == ["too_many", 0, 900_000, 400_000]
    assert take(499_999) == ["too_many", 0, 500_001, 1]
    assert take(500_000) == ["ok", 0, SECOND]


@pytest.mark.parametrize("quota", [1, 3, 999_983])
def test_a_whole_quota_can_be_had_at_once(do: Run, quota: int) -> None:
    assert do(RateTake("default", str(START), "a", quota, 7 * SECOND, quota))[0] == "ok"
    assert do(RateTake("default", str(START), "a", quota, 7 * SECOND, 1))[0] == "too_many"


def test_several_calls_at_a_time_count_one_after_the_other(client: "redis.Redis[bytes]") -> None:
    one = RateTake("default", str(START), "a", 2, SECOND, 1)
    arguments = [*one.head(), *(argument for _ in range(3) for argument in one.call())]
    replies = client.eval(LIBRARY.text("rate_take"), *arguments)
    assert [reply[0] for reply in replies] == [b"ok", b"ok", b"too_many"]


def test_a_bucket_goes_when_it_is_whole(client: "redis.Redis[bytes]", do: Run) -> None:
    do(RateTake("default", "", "a", 2, SECOND, 1))
    assert 0 < client.pttl("restms:{default}:rate:a") <= 500
    do(RateTake("default", "", "a", 2, SECOND, -1))
    assert not client.exists("restms:{default}:rate:a")


def test_counting_goes_on_when_memory_is_full(client: "redis.Redis[bytes]", do: Run) -> None:
    client.config_set("maxmemory", "1")
    try:
        assert do(RateTake("default", "", "a", 2, SECOND, 1))[0] == "ok"
    finally:
        client.config_set("maxmemory", "0")
