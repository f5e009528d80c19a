"""Surveys of a domain, chunk by chunk; and what scripts count until the sweep tells it."""

from collections.abc import Callable

import redis

from restms_cluster.survey import BEGIN
from restms_cluster.transitions import DomainDue, DomainSurvey, DomainSweep, FeedCreate, PipeDelete
from tests.leaks import BOUNDS
from tests.scripts.conftest import IDLE, PLAIN, Run, posting, secret

LIFE = "{} 0 -"  # the terms of a message that expires after so many milliseconds
TOLD = ("lost", "unroutable", "routed", "redelivered", "expired", "dead_lettered")


def sweep(do: Run) -> dict[str, int]:
    """What a sweep tells, but for what it has nothing to tell of."""
    _, _, *told = do(DomainSweep("default", "node", 60_000, 10, IDLE, BOUNDS))
    return {name: count for name, count in zip(TOLD, told, strict=True) if count}


def surveyed(do: Run) -> tuple[int, int, int, int]:
    """Messages, the age of the oldest in microseconds, pipes; and in how many calls."""
    calls, state = 1, BEGIN
    while (answer := do(DomainSurvey("default", "node", state)))[0] == "more":
        calls, state = calls + 1, answer[1].decode()
    assert answer[0] == "ok"
    return (*answer[1:], calls)


def work(do: Run, name: str = "work") -> str:
    assert do(FeedCreate("default", name, "rotator", "", "", "", "", 100))[0] == "ok"
    return name


def test_only_who_sweeps_may_survey(do: Run) -> None:
    assert do(DomainSurvey("default", "node", BEGIN)) == ["held"]
    sweep(do)
    assert do(DomainSurvey("default", "node", BEGIN))[0] == "more"
    assert do(DomainSurvey("default", "other", BEGIN)) == ["held"]


def test_pipes_and_feeds_of_all_kinds_are_looked_at(do: Run, pipe: Callable[..., str]) -> None:
    sweep(do)
    assert surveyed(do) == (0, 0, 0, 3)
    for letter in "abc":
        pipe(letter, news=letter)
    do(posting("news", ("a", "", PLAIN), ("a", "", PLAIN), ("b", "", PLAIN)))
    for feed in (work(do), work(do, "~" + secret("f"))):
        do(posting(feed, ("", "", PLAIN), ("", "", PLAIN, "", "", "- 9 -")))
    do(posting("news", ("a", "", PLAIN, "", "", "- 0 +60000")))
    messages, age, pipes, _ = surveyed(do)
    assert (messages, pipes) == (3 + 4 + 1, 3)
    assert 0 < age < 60_000_000


def test_a_survey_of_many_pipes_takes_many_calls(
    do: Run, client: "redis.Redis[bytes]", pipe: Callable[..., str]
) -> None:
    pipe("a", news="")
    do(posting("news", ("", "", PLAIN)))
    sweep(do)
    # What is looked at are names in a set: these are of pipes that hold nothing.
    others = {f"{number:032x}": 1 for number in range(1000)}
    client.zadd("restms:{default}:idle", others)
    messages, _, pipes, calls = surveyed(do)
    assert (messages, pipes) == (1, 1001)
    assert calls > 5
    client.zrem("restms:{default}:idle", *others)


def test_the_sweep_tells_once_what_no_request_was_told_of(
    do: Run, pipe: Callable[..., str]
) -> None:
    do(posting(work(do), ("", "", PLAIN)))
    do(FeedCreate("default", "short", "fanout", "", "", "work", "", 100))
    one = pipe("a", short="", work="")
    do(posting("short", ("", "", PLAIN, "", "", LIFE.format(0)), ("", "", PLAIN)))
    do(DomainDue("default", "node", BOUNDS))
    # One has expired, and came to the queue as a dead letter.
    assert sweep(do) == {"expired": 1, "dead_lettered": 1, "routed": 1}
    assert sweep(do) == {}
    do(PipeDelete("default", one, "", "", BOUNDS))
    do(posting("short", ("", "", PLAIN)))
    assert sweep(do) == {"redelivered": 2, "unroutable": 1}
