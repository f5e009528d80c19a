"""Redis at the edge of its memory: what is answered is there whole, what is refused not at all."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from restms_cluster.transitions import FeedCreate, MessageDelete, MessagePublish, PipeCreate
from tests.leaks import LIBRARY, run
from tests.scripts.conftest import IDLE, joining, posting, secret, stored

PIPES = [secret(letter) for letter in "abcd"]
LARGE = 4000

Publish = tuple[str, int, bool]
"""To which feed, how many messages, and whether they are large."""

PUBLISHES = st.lists(
    st.tuples(st.sampled_from(["one", "all", "turn"]), st.integers(1, 5), st.booleans()),
    min_size=1,
    max_size=6,
)


@pytest.fixture
def joined(client: "redis.Redis[bytes]") -> Iterator["redis.Redis[bytes]"]:
    """The first pipe gets what comes to `one`, all of them what comes to `all`, two take turns."""
    for kind, feed in (("", "one"), ("", "all"), ("rotator", "turn")):
        run(client, FeedCreate("default", feed, kind, "", "", "", "", 1000))
    for pipe in PIPES:
        run(client, PipeCreate("default", pipe, f"p{pipe}", secret("0" + pipe), "", "", 100, IDLE))
        assert run(client, joining(pipe, secret("1" + pipe), "all"))[0] == "ok"
    assert run(client, joining(PIPES[0], secret("2"), "one"))[0] == "ok"
    for number, pipe in enumerate(PIPES[2:]):
        assert run(client, joining(pipe, secret(f"3{number}"), "turn"))[0] == "ok"
    client.script_load(LIBRARY.text("message_publish"))  # its text would be most of a call
    yield client
    client.config_set("maxmemory", "0")


@contextmanager
def little_left(client: "redis.Redis[bytes]", margin: int) -> Iterator[None]:
    """For the time of a block there are only so many bytes left."""
    client.config_set("maxmemory", int(client.info("memory")["used_memory"]) + margin)
    try:
        yield
    finally:
        client.config_set("maxmemory", "0")


def held(client: "redis.Redis[bytes]") -> list[int]:
    """How many messages each pipe holds."""
    return [int(client.xlen(f"restms:{{default}}:pipe:{pipe}:messages")) for pipe in PIPES]


def publishing(one: Publish) -> MessagePublish:
    feed, count, large = one
    blob = b"m" * LARGE if large else stored("", "")
    return posting(feed, *[("", "", blob)] * count, most=10_000)


def tried(client: "redis.Redis[bytes]", group: list[Publish]) -> bool:
    """Publish several requests in one call; tell whether Redis had the memory for it."""
    calls = [publishing(one) for one in group]
    arguments = [*calls[0].head(), *(argument for call in calls for argument in call.call())]
    try:
        replies = client.evalsha(LIBRARY.digest("message_publish"), *arguments)
    except redis.exceptions.OutOfMemoryError:
        return False
    assert [reply[0] for reply in replies] == [b"ok"] * len(group)
    return True


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(margin=st.integers(0, 80_000), groups=st.lists(PUBLISHES, min_size=1, max_size=12))
def test_groups_at_the_edge_are_routed_whole_or_not_at_all(
    joined: "redis.Redis[bytes]", margin: int, groups: list[list[Publish]]
) -> None:
    before = held(joined)
    wanted, turns = list(before), 0
    with little_left(joined, margin):
        for group in groups:
            if not tried(joined, group):
                continue
            for feed, count, _ in group:
                wanted[0] += count if feed != "turn" else 0
                wanted[1:] = [has + count * (feed == "all") for has in wanted[1:]]
                turns += count * (feed == "turn")
        found = held(joined)
        assert found[:2] == wanted[:2]
        assert sum(found[2:]) == sum(wanted[2:]) + turns
        assert all(has >= had for has, had in zip(found, wanted, strict=True))
        # What frees memory is never refused, and frees it: then there is room again.
        for pipe, has in zip(PIPES, found, strict=True):
            last = int(joined.hget(f"restms:{{default}}:pipe:{pipe}", "last") or 0)
            if has:
                gone = run(joined, MessageDelete("default", pipe, last, "", "", IDLE))
                assert gone[0] == "ok"
    assert held(joined) == [0] * len(PIPES)
    assert not joined.keys("restms:{default}:body:*")


def test_a_call_that_goes_over_the_edge_is_not_broken_off(joined: "redis.Redis[bytes]") -> None:
    run(joined, FeedCreate("default", "wide", "", "", "", "", "", 1000))
    for number in range(40):
        name = secret(f"d{number:02}")
        made = PipeCreate("default", name, f"p{name}", secret(f"7{number:02}"), "", "", 100, IDLE)
        assert run(joined, made)[0] == "ok"
        assert run(joined, joining(name, secret(f"8{number:02}"), "wide"))[0] == "ok"
    many = posting("wide", *[("", "", b"m" * 60)] * 60, most=10_000)
    with little_left(joined, 60_000):  # it is 10 KB, but comes to 2,400 deliveries
        digest = LIBRARY.digest(many.script())
        assert joined.evalsha(digest, *many.arguments()) == [[b"ok", 1, 60, 40, 0]]
        memory = joined.info("memory")
        assert int(memory["used_memory"]) > int(memory["maxmemory"])
        assert not tried(joined, [("one", 1, False)])
        lengths = [
            joined.xlen(key) for key in joined.keys("restms:{default}:pipe:d[0-9]*:messages")
        ]
        assert lengths == [60] * 40


def test_nothing_is_made_without_memory(joined: "redis.Redis[bytes]") -> None:
    with little_left(joined, -1):
        for making in (
            FeedCreate("default", "more", "", "", "", "", "", 1000),
            PipeCreate("default", secret("e"), "pe", secret("4"), "", "", 100, IDLE),
            joining(PIPES[1], secret("5"), "one"),
        ):
            with pytest.raises(redis.exceptions.OutOfMemoryError):
                run(joined, making)
    assert not joined.exists("restms:{default}:feed:more")
    assert not joined.keys(f"restms:{{default}}:pipe:{secret('e')}*")
    assert not joined.exists(f"restms:{{default}}:join:{secret('5')}")
