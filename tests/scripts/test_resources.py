"""Domains, feeds, pipes and joins: made, changed, deleted, collected."""

from collections.abc import Callable
from typing import Any

import pytest
import redis

from restms_cluster.feeds import ANYBODY
from restms_cluster.transitions import (
    DomainConfigure,
    DomainRead,
    DomainSweep,
    FeedCreate,
    FeedDelete,
    FeedRead,
    FeedUpdate,
    HintsRequest,
    JoinDelete,
    JoinRead,
    PipeCreate,
    PipeDelete,
    PipeRead,
    PipeUpdate,
)
from tests.leaks import BOUNDS
from tests.scripts.conftest import IDLE, Run, joining, listed, posting, secret


def create(do: Run, name: str, kind: str = "", most: int = 10) -> list[Any]:
    return do(FeedCreate("default", name, kind, "", "", "", "", most))


def version(do: Run, feed: str) -> str:
    return do(FeedRead("default", feed))[1][4].decode()


def test_a_domain_lists_its_public_feeds_oldest_first(do: Run) -> None:
    for name in ("zebra", "ant", "~" + secret("f")):
        create(do, name)
    assert [feed[0] for feed in do(DomainRead("default"))[3]] == [b"default", b"zebra", b"ant"]


def test_configuring_again_changes_nothing(do: Run) -> None:
    before = do(DomainRead("default"))
    do(DomainConfigure("default", "Default domain", ("default", "", "Default feed", "", "", "")))
    assert do(DomainRead("default")) == before


def test_configuring_a_feed_that_has_another_type_is_refused(do: Run) -> None:
    create(do, "news")
    assert (
        do(DomainConfigure("default", "t", ("news", "topic", "", "", "", "")))[0] == "type_differs"
    )
    assert (
        do(DomainConfigure("default", "t", ("other", "no type", "", "", "", "")))[0]
        == "unknown_type"
    )
    assert do(DomainRead("default"))[1] == b"Default domain"


def test_a_feed_is_created_once(do: Run) -> None:
    assert create(do, "news")[0] == "ok"
    assert create(do, "news")[0] == "exists"
    assert create(do, "news", "topic") == ["type_differs"]
    assert create(do, "news", "no type") == ["unknown_type"]
    assert create(do, "default", "topic")[0] == "exists"  # configured: whatever type is asked for


def test_a_domain_has_so_many_feeds(do: Run) -> None:
    assert [create(do, f"feed{n}", most=2)[0] for n in range(3)] == ["ok", "ok", "too_many"]
    assert create(do, "~" + secret("f"), most=2) == ["too_many"]
    do(FeedDelete("default", "feed0", "", "", BOUNDS))
    assert create(do, "feed2", most=2)[0] == "ok"


def test_a_change_needs_the_current_version(do: Run) -> None:
    create(do, "news")
    old = version(do, "news")
    assert do(FeedUpdate("default", "news", old, "", "", "", ANYBODY, ("title", "News")))[0] == "ok"
    new = version(do, "news")
    assert int(new) > int(old)
    assert do(FeedUpdate("default", "news", old, "", "", "", ANYBODY, ("title", "Old"))) == [
        "stale"
    ]
    assert do(FeedUpdate("default", "news", "none", "", "", "", ANYBODY, ("title", "Old"))) == [
        "stale"
    ]
    assert do(FeedUpdate("default", "news", "", "1", "", "", ANYBODY, ("title", "Old"))) == [
        "stale"
    ]
    assert do(FeedDelete("default", "news", old, "", BOUNDS)) == ["stale"]
    assert do(FeedDelete("default", "news", new, "", BOUNDS)) == ["ok"]


def test_a_public_feed_is_changed_and_deleted_by_its_owner(do: Run) -> None:
    mine, another, nobody = "a" * 16, "b" * 16, ""
    assert do(FeedCreate("default", "news", "", "", "", "", "", 10, mine))[0] == "ok"
    assert do(FeedCreate("default", "news", "", "", "", "", "", 10, another))[0] == "exists"
    for by in (another, nobody):
        change = FeedUpdate("default", "news", "", "", "", "", by, ("title", "Taken"))
        assert do(change) == ["not_owner"]
        assert do(FeedDelete("default", "news", "", "", BOUNDS, by)) == ["not_owner"]
    for by in (mine, ANYBODY):
        change = FeedUpdate("default", "news", "", "", "", "", by, ("title", "Mine"))
        assert do(change)[0] == "ok"
    assert do(FeedDelete("default", "news", "", "", BOUNDS, mine)) == ["ok"]


def test_a_feed_of_nobody_is_changed_by_anybody(do: Run) -> None:
    create(do, "news")
    for by in ("a" * 16, ""):
        change = FeedUpdate("default", "news", "", "", "", "", by, ("title", by))
        assert do(change)[0] == "ok"
    assert do(FeedDelete("default", "news", "", "", BOUNDS, "a" * 16)) == ["ok"]


def test_a_change_to_the_same_is_none(do: Run) -> None:
    create(do, "news")
    before = version(do, "news")
    do(FeedUpdate("default", "news", "", "", "", "", ANYBODY, ("title", "", "license", "")))
    assert version(do, "news") == before


def test_a_change_of_a_feed_is_one_of_its_domain(do: Run) -> None:
    create(do, "news")
    before = int(do(DomainRead("default"))[2])
    do(FeedUpdate("default", "news", "", "", "", "", ANYBODY, ("license", "MIT")))
    assert int(do(DomainRead("default"))[2]) > before


def test_configured_feeds_stay_as_they_are(do: Run) -> None:
    update = FeedUpdate("default", "default", "", "", "", "", ANYBODY, ("title", "Mine"))
    assert do(update) == ["configured"]
    assert do(FeedDelete("default", "default", "", "", BOUNDS)) == ["configured"]


def test_a_type_cannot_be_changed(do: Run, pipe: Callable[..., str]) -> None:
    create(do, "news")
    reader = pipe("a")
    assert do(FeedUpdate("default", "news", "", "", "topic", "", ANYBODY, ())) == ["type_differs"]
    assert do(PipeUpdate("default", reader, "", "", "ondemand", IDLE, ())) == ["type_differs"]
    assert do(PipeUpdate("default", reader, "", "", "fifo", IDLE, ("title", "t"))) == ["ok"]


def test_a_pipe_is_born_with_its_join_on_default(do: Run, pipe: Callable[..., str]) -> None:
    reader = pipe("a")
    assert do(posting("default", (f"p{reader}", "", b"hello"))) == ["ok", 1, 1, 0]
    joins = do(PipeRead("default", reader, 10, IDLE))[5]
    assert [join[2] for join in joins] == [b"default"]
    join = joins[0][0].decode()
    assert do(JoinDelete("default", join, "", "", IDLE, BOUNDS)) == ["reserved"]
    another = joining(reader, secret("j"), "default", "x")
    assert do(another) == ["reserved"]


def test_an_unknown_pipe_type_is_refused(do: Run) -> None:
    pipe_create = PipeCreate("default", secret("a"), "p", secret("j"), "magic", "", 100, IDLE)
    assert do(pipe_create) == ["unknown_type"]


def test_the_same_join_is_made_once(do: Run, pipe: Callable[..., str]) -> None:
    reader = pipe("a", news="x")
    again = do(joining(reader, secret("9"), "news", "x"))
    assert again[0] == "exists"
    assert again[1][0] != secret("9").encode()
    assert do(JoinRead("default", secret("9"), IDLE)) == ["missing"]
    typed = joining(reader, secret("9"), "news", "x", type="topic")
    assert do(typed) == ["unknown_type"]


def test_a_pipe_has_so_many_joins(do: Run, pipe: Callable[..., str]) -> None:
    reader = pipe("a", news="x")
    second = joining(reader, secret("1"), "news", "y", most=1)
    assert do(second) == ["too_many"]


def test_deleting_a_feed_deletes_its_joins(do: Run, pipe: Callable[..., str]) -> None:
    reader = pipe("a", news="x")
    do(FeedDelete("default", "news", "", "", BOUNDS))
    assert len(do(PipeRead("default", reader, 10, IDLE))[5]) == 1
    create(do, "news")
    assert do(posting("news", ("x", "", b"m"))) == ["ok", 1, 0, 0]


def test_a_feed_with_many_joins_is_gone_at_once_and_freed_by_the_sweep(
    do: Run, pipe: Callable[..., str], client: "redis.Redis[bytes]"
) -> None:
    create(do, "news")
    reader = pipe("a")
    for n in range(1500):
        name = f"{n:032x}"
        do(joining(reader, name, "news", str(n)))
    do(FeedDelete("default", "news", "", "", BOUNDS))
    assert do(FeedRead("default", "news")) == ["missing"]
    left = len(client.keys("*:join:*"))
    assert 0 < left <= 501
    assert len(do(PipeRead("default", reader, 10, IDLE))[5]) == 1  # out of sight at once
    create(do, "news")  # a new feed of that name has none of the old one's joins
    assert len(do(PipeRead("default", reader, 10, IDLE))[5]) == 1
    publish = posting("news", ("1499", "", b"m"))
    assert do(publish) == ["ok", 1, 0, 0]
    while do(DomainSweep("default", "node", 1000, 10, IDLE, BOUNDS))[0] == "more":
        pass
    assert len(client.keys("*:join:*")) == 1


def test_deleting_a_pipe_frees_all_of_it(
    do: Run, pipe: Callable[..., str], client: "redis.Redis[bytes]"
) -> None:
    reader = pipe("a", news="x")
    do(posting("news", ("x", "", b"m" * 5000)))
    assert do(PipeDelete("default", reader, "12", "", BOUNDS)) == ["stale"]
    assert do(PipeDelete("default", reader, "", "", BOUNDS)) == ["ok"]
    assert do(PipeDelete("default", reader, "", "", BOUNDS)) == ["missing"]
    assert not [k for k in client.scan_iter() if b":pipe:" in k or b":body:" in k or b":join:" in k]


def test_a_listing_is_cut_short(do: Run, pipe: Callable[..., str]) -> None:
    reader = pipe("a", news="x")
    do(posting("news", *[("x", "id", b"m")] * 5))
    listing = do(PipeRead("default", reader, 3, IDLE))
    assert [message[0].partition(b"-")[0] for message in listing[6]] == [b"1", b"2", b"3"]
    assert listed(do, reader, 3) == [("x", "id")] * 3
    assert listing[4] == b"5"


def test_idle_pipes_are_collected_by_the_node_that_holds_the_lease(
    do: Run, client: "redis.Redis[bytes]"
) -> None:
    do(PipeCreate("default", secret("a"), "pa", secret("1"), "", "", 100, 1))
    do(PipeCreate("default", secret("b"), "pb", secret("2"), "", "", 100, IDLE))
    while client.zcount("restms:{default}:idle", "-inf", client.time()[0] * 1000) == 0:
        pass
    client.set("restms:{default}:lease", "another", px=60_000)
    assert do(DomainSweep("default", "one", 60_000, 10, IDLE, BOUNDS)) == ["held"]
    client.delete("restms:{default}:lease")
    assert do(DomainSweep("default", "one", 60_000, 10, IDLE, BOUNDS))[:2] == ["ok", 1]
    assert do(DomainSweep("default", "other", 60_000, 10, IDLE, BOUNDS)) == ["held"]
    assert do(PipeRead("default", secret("a"), 10, IDLE)) == ["missing"]
    assert do(PipeRead("default", secret("b"), 10, IDLE))[0] == "ok"


def test_no_pipe_is_collected_for_the_time_when_no_node_was_there(
    do: Run, client: "redis.Redis[bytes]"
) -> None:
    sweep = DomainSweep("default", "node", 10, 10, 300, BOUNDS)
    assert do(sweep)[1] == 0
    do(PipeCreate("default", secret("a"), "pa", secret("1"), "", "", 100, 1))
    last = int(client.hget("restms:{default}", "swept") or 0)

    def later(milliseconds: int) -> bool:
        seconds, rest = client.time()
        return seconds * 1000 + rest // 1000 > last + milliseconds

    while not later(21):  # more than two leases: the nodes were down
        pass
    assert do(sweep)[1] == 0
    last = int(client.hget("restms:{default}", "swept") or 0)
    collected = 0
    while not collected:
        collected = int(do(DomainSweep("default", "node", 10_000, 10, 300, BOUNDS))[1])
    assert later(299)  # it had the whole idle time from then on


def test_a_domain_has_so_many_pipes(do: Run) -> None:
    for letter, expected in (("a", "ok"), ("b", "too_many")):
        create_pipe = PipeCreate("default", secret(letter), "p", secret("1"), "", "", 1, IDLE)
        assert do(create_pipe)[0] == expected


@pytest.mark.parametrize("touch", ["read", "update"])
def test_using_a_pipe_puts_its_end_off(do: Run, client: "redis.Redis[bytes]", touch: str) -> None:
    name = secret("a")
    do(PipeCreate("default", name, "pa", secret("1"), "", "", 100, 1))
    before = client.zscore("restms:{default}:idle", name)
    uses = {
        "read": PipeRead("default", name, 10, IDLE),
        "update": PipeUpdate("default", name, "", "", "", IDLE, ("title", "t")),
    }
    do(uses[touch])
    assert client.zscore("restms:{default}:idle", name) >= before + IDLE - 1


def test_publishing_is_no_use_of_a_pipe(
    do: Run, pipe: Callable[..., str], client: "redis.Redis[bytes]"
) -> None:
    reader = pipe("a", news="x")
    before = client.zscore("restms:{default}:idle", reader)
    do(posting("news", ("x", "", b"m")))
    assert client.zscore("restms:{default}:idle", reader) == before


def test_hints_are_published_while_they_are_asked_for(
    do: Run, pipe: Callable[..., str], client: "redis.Redis[bytes]"
) -> None:
    reader = pipe("a", news="x")
    channel = f"restms:{{default}}:pipe:{reader}:messages"
    listener = client.pubsub(ignore_subscribe_messages=True)
    listener.subscribe(channel)
    listener.get_message(timeout=2)
    publish = posting("news", ("x", "", b"m"))
    do(publish)
    do(HintsRequest("default", 60_000))
    do(publish)
    heard = listener.get_message(timeout=2)
    assert heard is not None
    assert heard["channel"] == channel.encode()
    assert listener.get_message(timeout=0) is None  # only the second one
    client.delete("restms:{default}:hints")
    listener.close()
