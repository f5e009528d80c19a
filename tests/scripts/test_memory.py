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
        replies = client.eval(LIBRARY.text("message_publish"), *arguments)
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
    many = posting("all", *[("", "", b"m" * 900)] * 60, most=10_000)
    for margin in range(
        60_000, 400_000, 20_000
    ):  # how much the call itself takes is Redis's affair
        with little_left(joined, margin):
            try:
                assert run(joined, many)[0] == "ok"
            except redis.exceptions.OutOfMemoryError:
                assert held(joined) == [0] * len(PIPES)
                continue
            memory = joined.info("memory")
            assert held(joined) == [60] * len(PIPES)
            assert int(memory["used_memory"]) > int(memory["maxmemory"])
            assert not tried(joined, [("one", 1, False)])
            return
    pytest.fail("no call was let in")


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
