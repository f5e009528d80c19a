"""Rotators and services: turns, waiting messages, ondemand pipes, what comes back."""

from collections.abc import Callable
from typing import Any

import pytest
import redis

from restms_cluster.transitions import (
    DomainDue,
    DomainSweep,
    FeedCreate,
    FeedDelete,
    FeedRead,
    JoinDelete,
    MessageDelete,
    MessagePull,
    MessageRead,
    PipeCreate,
    PipeDelete,
    PipeLeave,
    PipeRead,
)
from tests.leaks import BOUNDS
from tests.scripts.conftest import IDLE, Run, joining, listed, posting, secret

Make = Callable[..., str]


@pytest.fixture
def work(do: Run) -> str:
    """A rotator."""
    assert do(FeedCreate("default", "work", "rotator", "", "", "", "", 10))[0] == "ok"
    return "work"


@pytest.fixture
def worker(do: Run) -> Make:
    """Make a pipe that is joined to a feed: worker("a", "ondemand")."""

    def make(letter: str, kind: str = "", feed: str = "work") -> str:
        pipe = secret(letter)
        do(PipeCreate("default", pipe, f"p{pipe}", secret("0" + letter), kind, "", 100, IDLE))
        assert do(joining(pipe, join_of(letter, feed), feed))[0] == "ok"
        return pipe

    return make


def join_of(letter: str, feed: str = "work") -> str:
    return secret(letter + feed.encode().hex())


def post(do: Run, *names: str, feed: str = "work", **options: Any) -> list[Any]:
    return do(posting(feed, *[(name, "", name.encode()) for name in names], **options))


def held(do: Run, pipe: str) -> list[str]:
    return [address for address, _ in listed(do, pipe)]


def take(do: Run, pipe: str, number: int, pull: str = "take") -> str | None:
    answer = do(MessageRead("default", pipe, number, 1000, IDLE))
    if answer == ["next", 1] and pull:
        waits = int(pull == "wait")
        answer = do(MessagePull("default", pipe, number, 1000, waits, BOUNDS))
    return answer[2].decode() if answer[0] == "ok" else None


def acknowledge(do: Run, pipe: str, number: int, gone: int = 1) -> None:
    assert do(MessageDelete("default", pipe, number, "", "", IDLE)) == ["ok", gone]


def redelivered(do: Run, pipe: str, number: int) -> bytes:
    return do(MessageRead("default", pipe, number, 1000, IDLE))[5]


def test_messages_go_to_the_joins_in_strict_turn(do: Run, work: str, worker: Make) -> None:
    one, two, three = worker("a"), worker("b"), worker("c")
    assert post(do, *"12345", "6") == ["ok", 0, *[1, 0] * 6]
    assert [held(do, pipe) for pipe in (one, two, three)] == [["1", "4"], ["2", "5"], ["3", "6"]]
    do(JoinDelete("default", join_of("b"), "", "", IDLE, BOUNDS))
    post(do, "7")
    late = worker("d")
    post(do, "8", "9", "10")
    assert held(do, one)[2:] == ["7", "9"] or held(do, one)[2:] == ["7", "10"]
    assert sorted(held(do, one)[2:] + held(do, three)[2:] + held(do, late)) == ["10", *"789"]
    assert held(do, two) == ["2", "5"]


def test_without_a_join_the_feed_queues_and_hands_over_in_order(
    do: Run, work: str, worker: Make
) -> None:
    assert post(do, *"123") == ["ok", 0, 1, 0, 1, 0, 1, 0]
    reader = worker("a")
    assert held(do, reader) == ["1", "2", "3"]
    post(do, "4")
    assert held(do, reader) == ["1", "2", "3", "4"]


def test_a_queue_holds_so_many_messages(do: Run, work: str, worker: Make) -> None:
    assert post(do, *"123", queue=3)[0] == "ok"
    assert post(do, "4", queue=3) == ["queue_full"]
    reader = worker("a")
    assert post(do, *"45678", queue=3)[0] == "ok"  # they pass through
    assert held(do, reader) == list("12345678")


def test_a_request_fits_into_a_queue_whole_or_not_at_all(do: Run, work: str, worker: Make) -> None:
    assert post(do, *"1234", queue=3) == ["queue_full"]
    assert held(do, worker("a")) == []


def test_full_pipes_are_passed_over_and_get_more_when_there_is_room(
    do: Run, work: str, worker: Make
) -> None:
    one, two = worker("a"), worker("b")
    messages = [(name, "", name.encode()) for name in "123456"]
    assert do(posting("work", *messages, most=2)) == ["ok", 0, *[1, 0] * 6]
    assert (held(do, one), held(do, two)) == (["1", "3"], ["2", "4"])
    acknowledge(do, two, 1)
    do(DomainDue("default", "node", "2 100 5"))
    assert held(do, two) == ["4", "5"]
    acknowledge(do, one, 2, gone=2)
    do(DomainDue("default", "node", "2 100 5"))
    assert held(do, one) == ["6"]


def test_what_a_deleted_pipe_held_comes_back_in_order(do: Run, work: str, worker: Make) -> None:
    one, two = worker("a"), worker("b")
    post(do, *"123456")
    acknowledge(do, one, 1)
    assert held(do, one) == ["3", "5"]
    do(JoinDelete("default", join_of("b"), "", "", IDLE, BOUNDS))
    do(PipeDelete("default", one, "", "", BOUNDS))
    post(do, "7")  # behind those that came back
    three = worker("c")
    assert held(do, three) == ["3", "5", "7"]
    assert [redelivered(do, three, n) for n in (1, 2, 3)] == [b"1", b"1", b"0"]
    do(PipeDelete("default", two, "", "", BOUNDS))
    assert held(do, three) == ["3", "5", "7", "2", "4", "6"]


def test_what_an_idle_pipe_held_comes_back(
    do: Run, work: str, client: "redis.Redis[bytes]"
) -> None:
    gone, other = secret("a"), secret("b")
    do(PipeCreate("default", gone, "pa", secret("1"), "", "", 100, 1))
    do(joining(gone, secret("2"), "work"))
    post(do, *"12")
    client.zadd("restms:{default}:idle", {gone: 1})  # as if its time were over
    assert do(DomainSweep("default", "node", 1000, 10, IDLE, BOUNDS))[1] == 1
    do(PipeCreate("default", other, "pb", secret("3"), "", "", 100, IDLE))
    do(joining(other, secret("4"), "work"))
    assert held(do, other) == ["1", "2"]


def test_much_comes_back_in_chunks_and_nothing_overtakes_it(
    do: Run, work: str, worker: Make, client: "redis.Redis[bytes]"
) -> None:
    one = worker("a")
    names = [f"{n:04}" for n in range(2500)]
    post(do, *names, most=5000)
    two = worker("b")
    do(PipeDelete("default", one, "", "", "5000 5000 5"))
    assert held(do, two) == []
    post(do, "last", most=5000, queue=5000)
    assert held(do, two) == []
    while do(DomainDue("default", "node", "5000 5000 5"))[0] == "more":
        pass
    entries = do(PipeRead("default", two, 5000, IDLE))[6]
    assert [entry[1].decode() for entry in entries] == [*names, "last"]


def test_a_service_goes_with_its_last_join(do: Run, worker: Make) -> None:
    do(FeedCreate("default", "fortune", "service", "", "", "", "", 10))
    post(do, "1", feed="fortune")  # it queues until somebody comes
    one = worker("a", feed="fortune")
    assert held(do, one) == ["1"]
    two = worker("b", feed="fortune")
    do(JoinDelete("default", join_of("a", "fortune"), "", "", IDLE, BOUNDS))
    assert do(FeedRead("default", "fortune"))[0] == "ok"
    do(PipeDelete("default", two, "", "", BOUNDS))
    assert do(FeedRead("default", "fortune")) == ["missing"]
    assert do(FeedCreate("default", "fortune", "service", "", "", "", "", 1))[0] == "ok"


def test_a_service_goes_with_a_collected_pipe(do: Run, client: "redis.Redis[bytes]") -> None:
    do(FeedCreate("default", "fortune", "service", "", "", "", "", 10))
    do(PipeCreate("default", secret("a"), "pa", secret("1"), "ondemand", "", 100, 1))
    do(joining(secret("a"), secret("2"), "fortune"))
    client.zadd("restms:{default}:idle", {secret("a"): 1})
    do(DomainSweep("default", "node", 1000, 10, IDLE, BOUNDS))
    assert do(FeedRead("default", "fortune")) == ["missing"]


def test_an_ondemand_pipe_takes_one_message_at_a_time(do: Run, work: str, worker: Make) -> None:
    reader = worker("a", "ondemand")
    post(do, *"123")
    assert held(do, reader) == []
    assert take(do, reader, 1, "") is None  # looking takes nothing
    assert take(do, reader, 1) == "1"
    assert take(do, reader, 1) == "1"  # again, the same
    assert take(do, reader, 2) is None
    acknowledge(do, reader, 1)
    assert take(do, reader, 2) == "2"
    assert take(do, reader, 4) is None


def test_ondemand_pipes_share_and_none_sees_what_another_has(
    do: Run, work: str, worker: Make
) -> None:
    readers = [worker(letter, "ondemand") for letter in "abc"]
    post(do, *"12345")
    assert [take(do, reader, 1) for reader in readers] == ["1", "2", "3"]
    do(PipeDelete("default", readers[1], "", "", BOUNDS))
    acknowledge(do, readers[0], 1)
    assert take(do, readers[0], 2) == "2"  # it came back, before the others
    assert redelivered(do, readers[0], 2) == b"1"
    acknowledge(do, readers[2], 1)
    assert take(do, readers[2], 2) == "4"


def called(client: "redis.Redis[bytes]", pipes: list[str], before: list[bytes]) -> list[int]:
    """Which of the pipes were called: a call sets their streams' last id."""
    after = last_ids(client, pipes)
    return [n for n, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]


def last_ids(client: "redis.Redis[bytes]", pipes: list[str]) -> list[bytes]:
    return [
        client.xinfo_stream(f"restms:{{default}}:pipe:{pipe}:messages")["last-generated-id"]
        for pipe in pipes
    ]


def test_waiting_readers_are_called_one_for_each_message_in_turn(
    do: Run, work: str, worker: Make, client: "redis.Redis[bytes]"
) -> None:
    readers = [worker(letter, "ondemand") for letter in "abc"]
    for reader in readers:
        assert take(do, reader, 1, "wait") is None
    turns = [name.decode()[1:33] for name in client.zrange("restms:{default}:index:2:turns", 0, -1)]
    assert sorted(turns) == sorted(readers)
    post(do, "1")
    left = [name.decode()[1:33] for name in client.zrange("restms:{default}:index:2:turns", 0, -1)]
    assert left == turns[1:]
    assert take(do, turns[0], 1, "wait") == "1"
    acknowledge(do, turns[0], 1)
    assert take(do, turns[0], 2, "wait") is None  # at the end of the line now
    order = [n.decode()[1:33] for n in client.zrange("restms:{default}:index:2:turns", 0, -1)]
    assert order == [*turns[1:], turns[0]]


def test_who_left_is_not_called_and_its_call_goes_to_another(
    do: Run, work: str, worker: Make, client: "redis.Redis[bytes]"
) -> None:
    one, two = worker("a", "ondemand"), worker("b", "ondemand")
    take(do, one, 1, "wait")
    take(do, two, 1, "wait")
    turns = "restms:{default}:index:2:turns"
    first = client.zrange(turns, 0, 0)[0].decode()[1:33]
    post(do, "1")  # calls the first
    assert client.zcard(turns) == 1
    do(PipeLeave("default", first, BOUNDS))
    assert client.zcard(turns) == 0  # so the other was called
    assert take(do, two if first == one else one, 1, "wait") == "1"


def test_a_call_that_nobody_answers_is_repeated_to_others(
    do: Run, work: str, worker: Make, client: "redis.Redis[bytes]"
) -> None:
    one, two = worker("a", "ondemand"), worker("b", "ondemand")
    take(do, one, 1, "wait")
    take(do, two, 1, "wait")
    post(do, "1")  # calls the first, whose node has just died
    do(DomainDue("default", "node", BOUNDS))
    assert client.zcard("restms:{default}:index:2:turns") == 1
    while client.exists("restms:{default}:index:2:called"):
        pass
    do(DomainDue("default", "node", BOUNDS))
    assert client.zcard("restms:{default}:index:2:turns") == 0


def test_a_message_is_left_to_who_was_called_for_it(do: Run, work: str, worker: Make) -> None:
    """However many are posted before the reader's node has come for it."""
    plain, asking = worker("a"), worker("b", "ondemand")
    take(do, asking, 1, "wait")
    post(do, "1")
    post(do, "2", "3")
    assert held(do, plain) == ["2", "3"]
    assert take(do, asking, 1, "wait") == "1"


@pytest.mark.parametrize("gone", ["left", "deleted"])
def test_what_was_left_to_who_goes_is_for_others(
    do: Run, work: str, worker: Make, gone: str
) -> None:
    plain, asking = worker("a"), worker("b", "ondemand")
    take(do, asking, 1, "wait")
    post(do, "1", "2")
    if gone == "left":
        do(PipeLeave("default", asking, BOUNDS))
    else:
        do(PipeDelete("default", asking, "", "", BOUNDS))
        do(DomainDue("default", "node", BOUNDS))
    assert sorted(held(do, plain)) == ["1", "2"]


def test_plain_and_ondemand_pipes_take_turns(do: Run, work: str, worker: Make) -> None:
    plain, asking = worker("a"), worker("b", "ondemand")
    take(do, asking, 1, "wait")
    post(do, "1")
    first = take(do, asking, 1, "wait")
    assert first == "1"  # it had never been served
    post(do, "2")
    assert held(do, plain) == ["2"]


def test_an_ondemand_pipe_takes_from_all_its_feeds(do: Run, work: str, worker: Make) -> None:
    do(FeedCreate("default", "more", "rotator", "", "", "", "", 10))
    reader = worker("a", "ondemand")
    do(joining(reader, join_of("a", "more"), "more"))
    post(do, "w1", "w2")
    post(do, "m1", "m2", feed="more")
    got = []
    for number in range(1, 5):
        got.append(take(do, reader, number))
        acknowledge(do, reader, number)
    assert sorted(filter(None, got)) == ["m1", "m2", "w1", "w2"]
    assert got[0][0] != got[1][0]  # in turn


@pytest.mark.parametrize("kind", ["", "ondemand"])
def test_urgent_messages_go_first(do: Run, work: str, worker: Make, kind: str) -> None:
    posted = [("a", ""), ("b", "- 9 -"), ("c", "- 4 -"), ("d", "- 9 -"), ("e", "- 0 -")]
    do(posting("work", *[(name, "", name.encode(), "", "", terms) for name, terms in posted]))
    reader = worker("a", kind)
    got = []
    for number in range(1, 6):
        got.append(take(do, reader, number))
        acknowledge(do, reader, number)
    assert got == ["b", "d", "c", "a", "e"]


def test_a_feed_that_is_deleted_takes_its_queue_along(
    do: Run, work: str, client: "redis.Redis[bytes]"
) -> None:
    post(do, *[str(n) for n in range(1500)], queue=5000)
    do(FeedDelete("default", "work", "", "", BOUNDS))
    assert 0 < len(client.keys("*:body:*")) <= 500
    while do(DomainSweep("default", "node", 1000, 10, IDLE, BOUNDS))[0] == "more":
        pass
    assert client.keys("*:body:*") == []
