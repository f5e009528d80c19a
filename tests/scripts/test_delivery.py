"""What a message asks for, and what its feed does for it: expiry, delays, repeats, dead letters."""

from collections.abc import Callable
from typing import Any

import pytest
import redis

from restms_cluster import matching
from restms_cluster.feeds import ANYBODY
from restms_cluster.model import Header
from restms_cluster.transitions import (
    DomainDue,
    DomainSweep,
    FeedCreate,
    FeedDelete,
    FeedRead,
    FeedUpdate,
    MessageDelete,
    MessageRead,
    PipeCreate,
    PipeDelete,
    PipeRead,
)
from restms_cluster.transitions_content import ContentStage, PartRead
from tests.leaks import BOUNDS
from tests.scripts.conftest import IDLE, PLAIN, Run, joining, listed, posting, secret

Make = Callable[..., str]


@pytest.fixture
def feed(do: Run) -> Callable[..., str]:
    """Make a feed: feed("work", "rotator", dead_letter="dead")."""

    def make(name: str, kind: str = "", dead_letter: str = "", dedup: str = "") -> str:
        answer = do(FeedCreate("default", name, kind, "", "", dead_letter, dedup, 100))
        assert answer[0] == "ok"
        return name

    return make


@pytest.fixture
def reader(do: Run) -> Make:
    """Make a pipe that is joined to a feed at an address: reader("a", "news", "x")."""

    def make(letter: str, feed: str, address: str = "", match: str = "all") -> str:
        pipe = secret(letter)
        do(PipeCreate("default", pipe, f"p{pipe}", secret("0" + letter), "", "", 100, IDLE))
        assert do(joining(pipe, secret("f" + letter), feed, address, match))[0] == "ok"
        return pipe

    return make


def held(do: Run, pipe: str) -> list[str]:
    return [message_id for _, message_id in listed(do, pipe)]


def read(do: Run, pipe: str, number: int) -> list[Any]:
    return do(MessageRead("default", pipe, number, 1000, IDLE))


def death(do: Run, pipe: str, number: int) -> str:
    return str(read(do, pipe, number)[6].decode())


def lasting(name: str, milliseconds: int, address: str = "") -> tuple[str, ...]:
    return (address, name, PLAIN, "", "", f"{milliseconds} 0 -")


def delayed(name: str, when: str, life: str = "-") -> tuple[str, ...]:
    return ("", name, PLAIN, "", "", f"{life} 0 {when}")


def due(do: Run) -> list[Any]:
    while (answer := do(DomainDue("default", "node", BOUNDS)))[0] == "more":
        pass
    return answer


@pytest.fixture
def later(client: "redis.Redis[bytes]") -> Callable[[int], None]:
    """Wait for so many milliseconds, by Redis's clock."""

    def wait(milliseconds: int) -> None:
        began = client.time()
        while True:
            seconds, micros = client.time()
            if (seconds - began[0]) * 1000 + (micros - began[1]) / 1000 > milliseconds:
                return

    return wait


# Expiration


def test_an_expired_message_is_not_delivered_and_frees_what_it_had(
    do: Run,
    feed: Make,
    reader: Make,
    later: Callable[[int], None],
    client: "redis.Redis[bytes]",
) -> None:
    feed("news")
    one, two = reader("a", "news"), reader("b", "news")
    do(posting("news", lasting("short", 30), ("", "plain", b"m"), lasting("long", 60_000)))
    later(150)
    for pipe in (one, two):
        assert held(do, pipe) == ["plain", "long"]
        assert read(do, pipe, 1) == ["missing"]
        assert do(PartRead("default", pipe, 1, 1, 1000, IDLE)) == ["missing"]
        listing = do(PipeRead("default", pipe, 100, IDLE))
        assert (listing[4], listing[7]) == (b"3", 0)  # the next one is still the fourth
    assert client.zcard("restms:{default}:expiring") == 4
    before = do(PipeRead("default", one, 100, IDLE))[3]
    due(do)
    assert client.zcard("restms:{default}:expiring") == 2
    assert len(client.keys("*:body:*")) == 2
    assert do(PipeRead("default", one, 100, IDLE))[3] > before
    do(MessageDelete("default", one, 3, "", "", IDLE))
    assert client.zcard("restms:{default}:expiring") == 1
    do(PipeDelete("default", two, "", "", BOUNDS))
    assert client.zcard("restms:{default}:expiring") == 0
    assert client.keys("*:body:*") == []


def test_the_last_message_of_a_pipe_can_expire(
    do: Run, feed: Make, reader: Make, later: Callable[[int], None]
) -> None:
    feed("news")
    pipe = reader("a", "news")
    do(posting("news", ("", "1", b"m"), lasting("2", 20)))
    later(150)
    due(do)
    listing = do(PipeRead("default", pipe, 100, IDLE))
    assert (len(listing[6]), listing[4], listing[7]) == (1, b"2", 0)
    assert read(do, pipe, 3)[0] == "next"
    do(posting("news", ("", "3", b"m")))
    assert held(do, pipe) == ["1", "3"]


def test_a_waiting_message_expires_in_its_queue(
    do: Run,
    feed: Make,
    reader: Make,
    later: Callable[[int], None],
    client: "redis.Redis[bytes]",
) -> None:
    feed("work", "rotator")
    do(posting("work", lasting("1", 20), ("", "2", b"m"), lasting("3", 20), lasting("4", 60_000)))
    later(150)
    pipe = reader("a", "work")
    assert held(do, pipe) == ["2", "4"]
    assert client.zcard("restms:{default}:expiring") == 1
    do(PipeDelete("default", pipe, "", "", BOUNDS))  # back into the queue, with its time
    assert client.zcard("restms:{default}:expiring") == 1


def test_the_queue_of_expired_messages_is_cleared_without_a_reader(
    do: Run, feed: Make, later: Callable[[int], None], client: "redis.Redis[bytes]"
) -> None:
    feed("work", "rotator")
    do(posting("work", lasting("1", 20), lasting("2", 20)))
    later(150)
    due(do)
    assert client.keys("*:body:*") == []


# Delays


def test_a_delayed_message_is_routed_when_its_time_has_come(
    do: Run, feed: Make, reader: Make, later: Callable[[int], None], client: "redis.Redis[bytes]"
) -> None:
    feed("news")
    pipe = reader("a", "news")
    now = client.time()[0] * 1000
    posted = (delayed("late", "+150"), delayed("later", str(now + 60_000)), delayed("past", "5"))
    assert do(posting("news", *posted, delayed("now", "+0"))) == [
        *("ok", 1, 0, 0, 0, 0, 1, 0, 1, 0),
    ]
    assert held(do, pipe) == ["past", "now"]
    answer = due(do)
    assert answer[1] == 0
    assert 0 < answer[2] <= 150
    later(200)
    answer = due(do)
    assert answer[1] == 1
    assert 150 < answer[2] <= 60_000
    assert held(do, pipe) == ["past", "now", "late"]


def test_delayed_messages_that_are_due_together_keep_their_order(
    do: Run, feed: Make, reader: Make, later: Callable[[int], None]
) -> None:
    feed("news")
    pipe = reader("a", "news")
    names = [str(number) for number in range(30)]
    do(posting("news", *[delayed(name, "+50") for name in names]))
    later(150)
    due(do)
    assert held(do, pipe) == names


def test_a_delayed_message_s_life_begins_when_it_is_routed(
    do: Run, feed: Make, reader: Make, later: Callable[[int], None]
) -> None:
    feed("news")
    pipe = reader("a", "news")
    do(posting("news", delayed("1", "+100", life="60000")))
    later(250)
    due(do)
    assert held(do, pipe) == ["1"]
    assert due(do)[2] > 59_000


def test_a_delayed_message_goes_with_its_feed(
    do: Run, feed: Make, client: "redis.Redis[bytes]"
) -> None:
    feed("news")
    do(posting("news", delayed("1", "+60000")))
    do(FeedDelete("default", "news", "", "", BOUNDS))
    assert client.keys("*:body:*") == []
    assert client.keys("*:delayed") == []


def test_a_delayed_message_that_finds_no_room_is_tried_again(
    do: Run, feed: Make, reader: Make, later: Callable[[int], None]
) -> None:
    feed("news")
    pipe = reader("a", "news")
    do(posting("news", ("", "1", b"m"), delayed("2", "+50")))
    later(150)
    full = DomainDue("default", "node", "1 100 5")
    answer = do(full)
    assert answer[1] == 0
    assert 500 < answer[2] <= 1000
    assert held(do, pipe) == ["1"]


def test_a_delayed_message_that_waits_for_room_is_not_overtaken(
    do: Run, feed: Make, reader: Make, later: Callable[[int], None]
) -> None:
    feed("news")
    one, two = reader("a", "news", "x"), reader("b", "news", "y")
    do(posting("news", ("x", "0", b"m"), most=1))
    for address, name, when in (("x", "1", "+20"), ("x", "2", "+40"), ("y", "3", "+60")):
        do(posting("news", (address, *delayed(name, when)[1:])))
    later(150)
    do(DomainDue("default", "node", "1 100 5"))
    assert (held(do, one), held(do, two)) == (["0"], ["3"])  # who has room waits for nobody
    do(MessageDelete("default", one, 1, "", "", IDLE))
    do(posting("news", ("x", *delayed("4", "+1")[1:])))  # its time comes before the next try
    later(250)
    due(do)
    assert held(do, one) == ["1", "2", "4"]


def test_delayed_messages_of_a_full_queue_keep_their_order(
    do: Run, feed: Make, reader: Make, later: Callable[[int], None]
) -> None:
    feed("work", "rotator")
    do(posting("work", ("", "0", b"m")))
    do(posting("work", delayed("1", "+20"), delayed("2", "+40", life="60000")))
    later(150)
    do(DomainDue("default", "node", "100 1 5"))
    pipe = reader("a", "work")
    do(posting("work", delayed("3", "+1")))
    later(250)
    due(do)
    assert held(do, pipe) == ["0", "1", "2", "3"]


def test_a_feed_keeps_so_many_delayed_messages(do: Run, feed: Make) -> None:
    feed("news")
    assert do(posting("news", delayed("1", "+60000"), queue=1))[0] == "ok"
    assert do(posting("news", delayed("2", "+60000"), queue=1)) == ["queue_full"]


def test_a_content_of_a_delayed_message_waits_with_it(
    do: Run, feed: Make, reader: Make, later: Callable[[int], None], client: "redis.Redis[bytes]"
) -> None:
    feed("news")
    content = secret("c")
    do(ContentStage("default", "news", content, "a/b", 3, 50, "", 0, 0, (b"abc",)))
    pipe = reader("a", "news")
    do(posting("news", ("", "1", "m", content, "", "- 0 +150")))
    later(250)
    due(do)
    assert read(do, pipe, 1)[3][0][3] == b"abc"


# Repeats


def test_a_message_id_is_routed_once_within_the_window(
    do: Run, feed: Make, reader: Make, client: "redis.Redis[bytes]"
) -> None:
    feed("news", dedup="0.2")
    pipe = reader("a", "news")
    first = do(posting("news", ("", "1", b"m"), ("", "1", b"m"), ("", "2", b"m"), ("", "", b"m")))
    assert first == ["ok", 1, *[1, 0] * 4]
    assert do(posting("news", ("nobody", "1", b"other"))) == ["ok", 1, 1, 0]  # as the first time
    assert held(do, pipe) == ["1", "2", ""]
    do(posting("news", ("", "", b"m")))
    assert held(do, pipe) == ["1", "2", "", ""]
    while client.keys("*:known:*"):
        pass
    do(posting("news", ("", "1", b"m")))
    assert held(do, pipe) == ["1", "2", "", "", "1"]


def test_without_a_window_a_message_id_may_be_repeated(do: Run, feed: Make, reader: Make) -> None:
    feed("news")
    pipe = reader("a", "news")
    for _ in range(2):
        do(posting("news", ("", "1", b"m")))
    assert held(do, pipe) == ["1", "1"]


def test_a_refused_message_is_not_known(do: Run, feed: Make, reader: Make) -> None:
    feed("news", dedup="60")
    pipe = reader("a", "news")
    do(posting("news", ("", "1", b"m"), most=1))
    assert do(posting("news", ("", "2", b"m"), most=1)) == ["full"]
    assert do(posting("news", ("", "2", b"m"), most=2)) == ["ok", 1, 1, 0]
    assert held(do, pipe) == ["1", "2"]


def test_a_repeat_need_not_have_its_contents_and_drops_those_it_has(
    do: Run, feed: Make, reader: Make, client: "redis.Redis[bytes]"
) -> None:
    feed("news", dedup="60")
    reader("a", "news")
    for letter in "cd":
        do(ContentStage("default", "news", secret(letter), "a/b", 3, 60_000, "", 0, 0, (b"abc",)))
    assert do(posting("news", ("", "1", b"m", secret("c"))))[0] == "ok"
    assert do(posting("news", ("", "1", b"m", secret("c"))))[0] == "ok"
    assert do(posting("news", ("", "1", b"m", secret("d"))))[0] == "ok"
    assert len(client.keys("*:content:*")) == 1


def test_a_request_with_a_key_is_routed_once(do: Run, feed: Make, reader: Make) -> None:
    feed("news")
    pipe = reader("a", "news")
    first = do(posting("news", ("", "1", b"m"), ("no", "2", b"m"), once="aa bb"))
    assert first == ["ok", 1, 1, 0, 0, 0]
    reader("b", "news")
    again = do(posting("news", ("", "1", b"m"), ("no", "2", b"m"), once="aa bb"))
    assert again == first
    assert held(do, pipe) == ["1"]
    assert do(posting("news", ("", "3", b"m"), once="aa cc")) == ["once_differs"]
    assert do(posting("news", ("", "3", b"m"), once="ab cc")) == ["ok", 1, 2, 0]


def test_a_content_is_staged_once_for_a_key(do: Run, feed: Make) -> None:
    feed("news")

    def stage(letter: str, once: str) -> list[Any]:
        name, keep = secret(letter), 60_000
        return do(ContentStage("default", "news", name, "a/b", 1, keep, once, keep, 0, (b"x",)))

    assert stage("c", "aa bb") == ["ok"]
    assert stage("d", "aa bb") == ["exists", secret("c").encode()]
    assert stage("d", "aa cc") == ["once_differs"]


def test_a_key_of_a_content_that_nobody_published_in_time_stages_it_anew(
    do: Run, feed: Make, client: "redis.Redis[bytes]"
) -> None:
    feed("news")

    def stage(letter: str, keep: int) -> list[Any]:
        content = secret(letter)
        return do(
            ContentStage("default", "news", content, "a/b", 1, keep, "aa bb", 60_000, 0, (b"x",))
        )

    assert stage("c", 20) == ["ok"]
    while client.exists(f"restms:{{default}}:content:{secret('c')}"):
        pass
    assert stage("d", 60_000) == ["ok"]
    assert stage("e", 60_000) == ["exists", secret("d").encode()]


# Dead letters


@pytest.fixture
def dead(feed: Make) -> str:
    """A queue of dead letters."""
    return feed("dead", "rotator")


def test_an_expired_message_is_one_dead_letter(
    do: Run, feed: Make, reader: Make, dead: str, later: Callable[[int], None]
) -> None:
    feed("news", dead_letter=dead)
    pipes = [reader(letter, "news") for letter in "abc"]
    do(posting("news", lasting("1", 30)))
    later(150)
    due(do)
    letters = reader("d", dead)
    assert [held(do, pipe) for pipe in pipes] == [[]] * 3
    assert held(do, letters) == ["1"]
    assert death(do, letters, 1) == "expired 1 news"
    due(do)
    assert held(do, letters) == ["1"]  # it does not expire again


def test_what_expires_in_a_queue_is_a_dead_letter(
    do: Run, feed: Make, reader: Make, dead: str, later: Callable[[int], None]
) -> None:
    feed("work", "rotator", dead_letter=dead)
    do(posting("work", lasting("1", 30), ("", "2", b"m")))
    later(150)
    assert held(do, reader("a", "work")) == ["2"]
    assert held(do, reader("b", dead)) == ["1"]


def test_a_message_for_full_pipes_only_is_a_dead_letter_instead_of_a_refusal(
    do: Run, feed: Make, reader: Make, dead: str
) -> None:
    feed("news", dead_letter=dead)
    one, two = reader("a", "news"), reader("b", "news")
    do(posting("news", ("", "1", b"m"), most=1))
    assert do(posting("news", ("", "2", b"m" * 5000), most=1)) == ["ok", 1, 0, 2]
    do(MessageDelete("default", two, 1, "", "", IDLE))
    assert do(posting("news", ("", "3", b"m"), most=1)) == ["ok", 1, 1, 1]
    letters = reader("c", dead)
    assert (held(do, one), held(do, two), held(do, letters)) == (["1"], ["3"], ["2", "3"])
    assert [death(do, letters, n) for n in (1, 2)] == ["overflow 2 news", "overflow 1 news"]
    assert read(do, letters, 1)[2] == b"m" * 5000


def test_what_a_full_queue_has_no_room_for_is_a_dead_letter(
    do: Run, feed: Make, reader: Make, dead: str
) -> None:
    feed("work", "rotator", dead_letter=dead)
    content = secret("c")
    do(ContentStage("default", "work", content, "a/b", 3, 60_000, "", 0, 0, (b"abc",)))
    answer = do(posting("work", ("", "1", b"m"), ("", "2", b"m", content), queue=1))
    assert answer == ["ok", 0, 1, 0, 0, 1]
    letters = reader("b", dead)
    assert held(do, letters) == ["2"]
    assert read(do, letters, 1)[3][0][3] == b"abc"
    assert held(do, reader("a", "work")) == ["1"]


def test_what_comes_back_too_often_is_a_dead_letter(
    do: Run, feed: Make, reader: Make, dead: str
) -> None:
    feed("work", "rotator", dead_letter=dead)
    do(posting("work", ("", "poison", b"m")))
    for letter in "abcdef":  # it comes back five times, BOUNDS says
        pipe = reader(letter, "work")
        assert held(do, pipe) == ["poison"]
        do(PipeDelete("default", pipe, "", "", BOUNDS))
    assert held(do, reader("1", "work")) == []
    letters = reader("2", dead)
    assert death(do, letters, 1) == "redelivered 1 work"


def test_without_a_dead_letter_feed_it_comes_back_for_ever(
    do: Run, feed: Make, reader: Make
) -> None:
    feed("work", "rotator")
    do(posting("work", ("", "poison", b"m")))
    for letter in "abcdef123":
        pipe = reader(letter, "work")
        assert held(do, pipe) == ["poison"]
        do(PipeDelete("default", pipe, "", "", BOUNDS))


def test_what_a_service_had_left_is_dead_letters(
    do: Run, feed: Make, reader: Make, dead: str
) -> None:
    feed("fortune", "service", dead_letter=dead)
    pipe = reader("a", "fortune")
    do(posting("fortune", ("", "1", b"m"), ("", "2", b"m")))
    do(PipeDelete("default", pipe, "", "", BOUNDS))
    assert do(FeedRead("default", "fortune")) == ["missing"]
    letters = reader("b", dead)
    assert held(do, letters) == ["1", "2"]
    assert death(do, letters, 1) == "deleted 1 fortune"


def test_dead_letters_are_routed_by_their_headers_and_addresses(
    do: Run, feed: Make, reader: Make, later: Callable[[int], None]
) -> None:
    feed("dead", "headers")
    feed("news", dead_letter="dead")
    colour = matching.carried([Header("colour", "red")])
    reader("a", "news")
    because = matching.wanted([Header("x-death-reason", "expired"), Header("colour", "red")])
    wanted = reader("b", "dead", match=because)
    other = reader("c", "dead", match=matching.wanted([Header("x-death-reason", "overflow")]))
    do(posting("news", ("", "1", b"m", "", colour, "30 0 -")))
    later(150)
    due(do)
    assert (held(do, wanted), held(do, other)) == (["1"], [])


@pytest.mark.parametrize("how", ["deleted", "ended"])
def test_what_comes_back_to_a_feed_that_ends_meanwhile_is_dead_letters(
    do: Run, feed: Make, reader: Make, dead: str, client: "redis.Redis[bytes]", how: str
) -> None:
    bounds = "5000 5000 5"
    feed("work", "service", dead_letter=dead)
    one = reader("a", "work")
    for _ in range(3):  # more than come back in one call
        do(posting("work", *[("", "1", b"m")] * 500, most=5000, queue=5000))
    reader("b", "work")
    do(PipeDelete("default", one, "", "", bounds))
    assert client.exists("restms:{default}:returning")
    if how == "deleted":
        do(FeedDelete("default", "work", "", "", bounds))
    else:
        do(PipeDelete("default", secret("b"), "", "", bounds))
    while do(DomainDue("default", "node", bounds))[0] == "more":
        pass
    while do(DomainSweep("default", "node", 1000, 10, IDLE, bounds))[0] == "more":
        pass
    assert do(FeedRead("default", "work")) == ["missing"]
    assert client.zcard("restms:{default}:index:2:queue") == 1500
    assert not client.exists("restms:{default}:ended")


def test_a_dead_letter_that_dies_again_tells_of_its_last_death(
    do: Run, feed: Make, reader: Make, later: Callable[[int], None]
) -> None:
    feed("last", "headers")
    feed("dead", "headers", dead_letter="last")
    feed("news", dead_letter="dead")

    def because(letter: str, kind: str, *headers: tuple[str, str]) -> str:
        wanted = matching.wanted([Header(name, value) for name, value in headers])
        return reader(letter, kind, match=wanted)

    reader("a", "news")
    full = because("b", "dead", ("x-death-reason", "expired"))
    do(posting("default", (f"p{full}", "0", b"m"), most=1))
    now = because("c", "last", ("x-death-reason", "overflow"), ("x-death-feed", "dead"))
    before = because("d", "last", ("x-death-reason", "expired"))
    do(posting("news", lasting("1", 20)))
    later(150)
    do(DomainDue("default", "node", "1 100 5"))
    assert (held(do, full), held(do, now), held(do, before)) == (["0"], ["1"], [])
    assert death(do, now, 1) == "overflow 1 dead"


def test_what_no_dead_letter_feed_has_room_for_stays_with_its_publisher(
    do: Run, feed: Make, reader: Make
) -> None:
    feed("one", "rotator")
    feed("two", "rotator", dead_letter="one")
    assert (
        do(FeedUpdate("default", "one", "", "", "", "two", ANYBODY, ("dead_letter", "two")))[0]
        == "ok"
    )
    do(posting("one", ("", "1", b"m"), queue=1))
    do(posting("two", ("", "2", b"m"), queue=1))
    assert do(posting("one", ("", "3", b"m"), queue=1)) == ["queue_full"]
    assert do(posting("one", ("", "3", b"m"), ("", "4", b"m"), queue=2)) == ["ok", 0, 1, 0, 0, 1]
    assert do(DomainSweep("default", "node", 1000, 10, IDLE, BOUNDS))[2] == 0
    assert held(do, reader("a", "one")) == ["1", "3"]
    assert held(do, reader("b", "two")) == ["2", "4"]


@pytest.mark.parametrize("gone", [True, False])
def test_without_room_for_dead_letters_full_pipes_refuse(
    do: Run, feed: Make, reader: Make, dead: str, gone: bool
) -> None:
    feed("news", dead_letter=dead)
    full, other = reader("a", "news"), reader("b", "news")
    do(posting("news", ("", "1", b"m"), most=1))
    if gone:
        do(FeedDelete("default", dead, "", "", BOUNDS))
    else:
        do(posting(dead, ("", "x", b"m"), queue=1))
    assert do(posting("news", ("", "2", b"m"), most=1, queue=1)) == ["full"]
    do(MessageDelete("default", other, 1, "", "", IDLE))
    assert do(posting("news", ("", "2", b"m"), most=1, queue=1)) == ["ok", 1, 1, 1]
    assert (held(do, full), held(do, other)) == (["1"], ["2"])
    assert do(DomainSweep("default", "node", 1000, 10, IDLE, BOUNDS))[2] == 0


def test_a_dead_letter_feed_must_exist(do: Run, feed: Make) -> None:
    refused = do(FeedCreate("default", "news", "", "", "", "nowhere", "", 10))
    assert refused == ["no_feed"]
    feed("news")
    update = FeedUpdate(
        "default", "news", "", "", "", "nowhere", ANYBODY, ("dead_letter", "nowhere")
    )
    assert do(update) == ["no_feed"]


def test_a_dead_letter_feed_that_is_gone_takes_none(
    do: Run, feed: Make, reader: Make, dead: str, later: Callable[[int], None]
) -> None:
    feed("news", dead_letter=dead)
    reader("a", "news")
    do(FeedDelete("default", dead, "", "", BOUNDS))
    do(posting("news", lasting("1", 20)))
    later(150)
    due(do)
    assert do(DomainSweep("default", "node", 1000, 10, IDLE, BOUNDS))[2] == 1
