"""Section 7: 4/AMQP9: feeds that route as AMQP's exchanges do, and feeds that share work."""

from datetime import timedelta
from urllib.parse import urlsplit

import pytest

from tests.conformance.client import DEFAULT_FEED, DOMAIN, Client, expect, unique, until
from tests.conformance.conftest import ADDRESS, PER_FEED, PER_PIPE
from tests.conformance.documents import Element, data_of, message, numbered, restms, text

ROUTING = ("fanout", "direct", "topic", "headers")
QUEUEING = ("rotator", "service")
REGISTERED_SECONDS = 1.0  # in which a reader who waits has long been put on the list of those


def pairs(**headers: str) -> list[Element]:
    """Make the headers of a join; `x_match` is x-match."""
    return [{"name": name.replace("_", "-"), "value": value} for name, value in headers.items()]


@pytest.fixture(params=QUEUEING)
def queueing(request: pytest.FixtureRequest, broker: Client) -> str:
    """A feed of each type that queues."""
    return broker.create_feed(unique(request.param), request.param)


@pytest.fixture
def rotator(broker: Client) -> str:
    return broker.create_feed(unique("rotator"), "rotator")


@pytest.fixture
def service(broker: Client) -> str:
    return broker.create_feed(unique("service"), "service")


# The profile


def test_domain_lists_the_profile_with_a_page_to_read(speaker: Client) -> None:
    """Section 7: the domain lists the profile 4/AMQP9; its page tells of every type."""
    profiles = speaker.read(DOMAIN)["profile"]
    (profile,) = [profile for profile in profiles if profile["name"] == "4/AMQP9"]
    page = expect(speaker.get(profile["href"], accept="text/*"), 200)
    assert page.headers["Content-Type"].startswith("text/")
    assert all(type_ in page.text for type_ in (*ROUTING, *QUEUEING, "ondemand"))


@pytest.mark.parametrize("type_", [*ROUTING, *QUEUEING])
def test_feed_has_the_type_it_was_made_with(broker: Client, type_: str) -> None:
    """Section 7: a feed of each type can be made, and shows its type, in the domain as well."""
    name = unique(type_)
    feed = broker.create_feed(name, type_)
    assert broker.read(feed)["type"] == type_
    (listed,) = [each for each in broker.read(DOMAIN)["feed"] if each["name"] == name]
    assert listed["type"] == type_


@pytest.mark.parametrize("type_", [*ROUTING, *QUEUEING])
def test_publishing_is_answered_with_an_empty_body(speaker: Client, type_: str) -> None:
    """Section 7: POST of messages answers 200 with an empty body, whether anybody takes them."""
    feed = speaker.create_feed(type=type_)
    assert speaker.post_messages(feed, message("nobody")).content == b""
    pipe = speaker.create_joined(feed, ADDRESS)
    answer = speaker.post_messages(feed, message(ADDRESS, text("news")), message(ADDRESS))
    assert answer.content == b""
    assert "RestMS-Full" not in answer.headers
    assert data_of(speaker.receive_all(pipe)[-2]["content"][0]) == b"news"


@pytest.mark.parametrize("type_", [*ROUTING, *QUEUEING])
def test_joins_have_the_default_type_only(broker: Client, type_: str) -> None:
    """Section 7: a join of another type is 400."""
    feed, pipe = broker.create_feed(type=type_), broker.create_pipe()
    expect(broker.post(pipe, restms(join=[{"feed": feed, "type": "direct"}])), 400)
    assert len(broker.read(pipe)["join"]) == 1


# Fanout and direct feeds


def test_fanout_feed_routes_to_every_join(broker: Client) -> None:
    """Section 7: a fanout feed routes each message to every join, whatever the addresses."""
    feed = broker.create_feed(type="fanout")
    pipes = [broker.create_joined(feed, address) for address in ("", "a", "#", "b.c")]
    broker.post_messages(feed, *[message(each, message_id=each or "none") for each in ("", "x")])
    assert [broker.ids(pipe) for pipe in pipes] == [["none", "x"]] * len(pipes)


def test_direct_feed_routes_where_addresses_are_equal(broker: Client) -> None:
    """Section 7: a direct feed routes to every join of the same address, and knows no patterns."""
    feed = broker.create_feed(type="direct")
    addresses = ["a.b", "a.b", "A.B", "a", "a.*", "#", ""]
    pipes = [broker.create_joined(feed, address) for address in addresses]
    broker.post_messages(feed, message("a.b", message_id="1"), message(message_id="2"))
    assert [broker.ids(pipe) for pipe in pipes] == [["1"], ["1"], [], [], [], [], ["2"]]


@pytest.mark.parametrize("type_", ROUTING)
def test_routing_feeds_do_not_queue(broker: Client, type_: str) -> None:
    """Section 7: only rotators and services queue: who joins another feed gets what comes then."""
    feed = broker.create_feed(type=type_)
    broker.post_messages(feed, message(ADDRESS, message_id="before"))
    pipe = broker.create_joined(feed, ADDRESS)
    broker.post_messages(feed, message(ADDRESS, message_id="after"))
    assert broker.ids(pipe) == ["after"]


@pytest.mark.parametrize("type_", ROUTING)
def test_join_that_is_deleted_gets_no_more(broker: Client, type_: str) -> None:
    """Section 7: a deleted join gets nothing more, and others of its feed go on."""
    feed, pipe = broker.create_feed(type=type_), broker.create_pipe()
    join = broker.join(pipe, feed, ADDRESS)
    other = broker.create_joined(feed, ADDRESS)
    broker.post_messages(feed, message(ADDRESS, message_id="1"))
    expect(broker.delete(join), 200)
    broker.post_messages(feed, message(ADDRESS, message_id="2"))
    assert (broker.ids(pipe), broker.ids(other)) == (["1"], ["1", "2"])


@pytest.mark.ours
@pytest.mark.parametrize("type_", ["fanout", "topic", "headers"])
def test_pipe_gets_one_copy_however_many_of_its_joins_match(broker: Client, type_: str) -> None:
    """Section 7: a pipe gets one copy of a message, however many of its joins match."""
    feed, pipe = broker.create_feed(type=type_), broker.create_pipe()
    broker.join(pipe, feed, ADDRESS)
    broker.join(pipe, feed, "sports.*", header=pairs(kind="news"))
    last = broker.join(pipe, feed, "#", header=pairs(kind="news", x_match="any"))
    news = message(ADDRESS, message_id="1", header=[("kind", "news")])
    broker.post_messages(feed, news)
    assert broker.ids(pipe) == ["1"]
    expect(broker.delete(last), 200)  # the others still want it
    broker.post_messages(feed, {**news, "message_id": "2"})
    assert broker.ids(pipe) == ["1", "2"]


@pytest.mark.ours
def test_pipe_gets_a_copy_from_each_feed(broker: Client) -> None:
    """Section 7: one copy is meant of each feed: what is posted to two comes twice."""
    pipe = broker.create_pipe()
    for type_ in ("fanout", "topic"):
        feed = broker.create_feed(type=type_)
        broker.join(pipe, feed, "#")
        broker.post_messages(feed, message(ADDRESS, message_id=type_))
    assert broker.ids(pipe) == ["fanout", "topic"]


# Topic feeds


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("a.b", ["a.b"], ["", "a", "b", "a.b.c", "x.a.b", "A.B", "a.*", "a.#", "ab"]),
        ("a.*", ["a.b", "a.*", "a.#", "a."], ["", "a", "a.b.c", "b.a", "a..b"]),
        ("*", ["a", "*", "#"], ["", "a.b", "."]),
        ("*.*", ["a.b", ".", "a.", ".b"], ["", "a", "a.b.c", ".."]),
        ("*.b", ["a.b", ".b"], ["b", "a.b.b", "a.c"]),
        ("#", ["", "a", "a.b", "a..b", ".", "#", "*"], []),
        ("#.#", ["", "a", "a.b", "a.b.c", "."], []),
        ("a.#", ["a", "a.b", "a.b.c", "a.", "a.a"], ["", "b.a", "ab", "A", ".a"]),
        ("#.a", ["a", "b.a", "c.b.a", ".a", "a.a"], ["", "a.b", "ba", "a."]),
        ("a.#.b", ["a.b", "a.x.b", "a.x.y.b", "a..b", "a.b.b"], ["", "a", "b", "a.b.c", "ab"]),
        ("a.*.b", ["a.x.b", "a..b"], ["a.b", "a.x.y.b", "a.x.b.c"]),
        ("*.#", ["a", "a.b", "a.b.c", "."], [""]),
        ("#.*", ["a", "a.b", "a.b.c", "."], [""]),
        ("#.*.#", ["a", "a.b", "a.b.c"], [""]),
        ("*.#.*", ["a.b", "a.b.c", "a.b.c.d", "."], ["", "a"]),
        ("a.*.#", ["a.b", "a.b.c"], ["", "a", "b.a"]),
        ("a.#.*.b", ["a.x.b", "a.x.y.b"], ["a.b", "a.x"]),
        ("#.a.#", ["a", "x.a", "a.y", "x.a.y", "a.a"], ["", "b", "xa.y"]),
        ("#.a.#.b.#", ["a.b", "x.a.y.b.z"], ["", "a", "b", "b.a"]),
        ("a..b", ["a..b"], ["a.b", "a.x.b", "a...b"]),
        (".", ["."], ["", "..", "a.", ".a"]),
        ("", [""], ["a", ".", "#"]),
        ("a*.b#", ["a*.b#"], ["a.b", "ax.bx", "a.b.c"]),
        ("**", ["**"], ["", "a", "a.b"]),
        ("a+.[bc]", ["a+.[bc]"], ["aa.b", "a.c"]),
    ],
)
def test_topic_feed_routes_where_patterns_match(
    broker: Client, pattern: str, matching: list[str], others: list[str]
) -> None:
    """Section 7: in a pattern `*` is one word and `#` any number of them; words may be empty."""
    feed = broker.create_feed(type="topic")
    pipe = broker.create_joined(feed, pattern)
    broker.post_messages(feed, *[message(address) for address in (*matching, *others)])
    assert [entry.get("address", "") for entry in broker.listed(pipe)[:-1]] == matching


def test_topic_feed_routes_to_every_pattern_that_matches(broker: Client) -> None:
    """Section 7: a message goes to all joins whose patterns match, also as some of them leave."""
    feed = broker.create_feed(type="topic")
    patterns = ["a.b.c", "a.b.*", "a.b.#", "a.*.c", "#.c", "*.b.c", "a.b", "a.b.c.d"]
    pipes = [broker.create_pipe() for _ in patterns]
    joins = [
        broker.join(pipe, feed, pattern) for pipe, pattern in zip(pipes, patterns, strict=True)
    ]
    broker.post_messages(feed, message("a.b.c", message_id="1"))
    assert [len(broker.ids(pipe)) for pipe in pipes] == [1] * 6 + [0] * 2
    for join in (joins[0], joins[2], joins[4]):
        expect(broker.delete(join), 200)
    broker.post_messages(feed, message("a.b.c", message_id="2"))
    assert [len(broker.ids(pipe)) for pipe in pipes] == [1, 2, 1, 2, 1, 2, 0, 0]


# Headers feeds


@pytest.mark.parametrize(
    ("wanted", "carried", "matches"),
    [
        ({"kind": "news"}, [("kind", "news")], True),
        ({"kind": "news"}, [("lang", "en"), ("kind", "news")], True),
        ({"kind": "news"}, [], False),
        ({"kind": "news"}, [("kind", "News")], False),
        ({"kind": "news"}, [("Kind", "news")], False),
        ({"kind": "news"}, [("kind", "news ")], False),
        ({"kind": "news"}, [("kin", "dnews"), ("news", "kind")], False),
        ({"kind": "news"}, [("kind", "ads"), ("kind", "news")], True),
        ({"kind": "*"}, [("kind", "news")], False),
        ({"kind": ""}, [("kind", "")], True),
        ({"kind": ""}, [("kind", "news")], False),
        ({"art": "größer, später"}, [("art", "größer, später")], True),
        ({"kind": "news", "lang": "en"}, [("lang", "en"), ("x", "y"), ("kind", "news")], True),
        ({"kind": "news", "lang": "en"}, [("kind", "news"), ("lang", "de")], False),
        ({"kind": "news", "lang": "en"}, [("kind", "news")], False),
        ({}, [], True),
        ({}, [("kind", "news")], True),
    ],
)
def test_headers_feed_routes_where_all_headers_are_equal(
    broker: Client, wanted: dict[str, str], carried: list[tuple[str, str]], matches: bool
) -> None:
    """Section 7: a join wants messages that carry all of its headers, with equal values."""
    feed = broker.create_feed(type="headers")
    pipe = broker.create_joined(feed, header=pairs(**wanted))
    broker.post_messages(feed, message(header=carried, message_id="1"))
    assert broker.ids(pipe) == (["1"] if matches else [])


@pytest.mark.ours
@pytest.mark.parametrize(
    ("mode", "wanted", "carried", "matches"),
    [
        ("any", {"kind": "news", "lang": "en"}, [("lang", "en")], True),
        ("any", {"kind": "news", "lang": "en"}, [("kind", "news"), ("lang", "en")], True),
        ("any", {"kind": "news", "lang": "en"}, [("kind", "ads"), ("lang", "de")], False),
        ("any", {"kind": "news", "lang": "en"}, [], False),
        ("any", {}, [("kind", "news")], False),
        ("any", {"kind": "news"}, [("x-match", "any")], False),
        ("all", {"kind": "news", "lang": "en"}, [("lang", "en")], False),
        ("all", {"kind": "news", "lang": "en"}, [("kind", "news"), ("lang", "en")], True),
        ("all", {}, [], True),
    ],
)
def test_join_says_by_x_match_how_many_headers_it_wants(
    broker: Client, mode: str, wanted: dict[str, str], carried: list[tuple[str, str]], matches: bool
) -> None:
    """Section 7: with the header x-match a join wants any of its other headers, or all."""
    feed = broker.create_feed(type="headers")
    pipe = broker.create_joined(feed, header=pairs(x_match=mode, **wanted))
    broker.post_messages(feed, message(header=carried, message_id="1"))
    assert broker.ids(pipe) == (["1"] if matches else [])


@pytest.mark.ours
@pytest.mark.parametrize("mode", ["none", "ANY", "All", "", "any "])
def test_other_x_match_is_400(broker: Client, mode: str) -> None:
    """Section 7: an x-match that is neither all nor any is 400, and nothing is joined."""
    feed, pipe = broker.create_feed(type="headers"), broker.create_pipe()
    join = {"feed": feed, "address": "", "header": pairs(x_match=mode, kind="news")}
    expect(broker.post(pipe, restms(join=[join])), 400)
    assert len(broker.read(pipe)["join"]) == 1


def test_headers_feed_tells_many_joins_apart(broker: Client) -> None:
    """Section 7: each join of a headers feed gets what it wants, whatever the address."""
    feed = broker.create_feed(type="headers")
    wanted = [{"a": "1"}, {"b": "2"}, {"a": "1", "b": "2"}, {"a": "2"}, {}]
    pipes = [
        broker.create_joined(feed, f"{n}", header=pairs(**each)) for n, each in enumerate(wanted)
    ]
    carried = [[("a", "1")], [("b", "2")], [("b", "2"), ("a", "1")], [("a", "2"), ("b", "2")], []]
    broker.post_messages(
        feed, *[message(header=h, message_id=f"{n}") for n, h in enumerate(carried)]
    )
    assert [broker.ids(pipe) for pipe in pipes] == [
        ["0", "2"],
        ["1", "2", "3"],
        ["2"],
        ["3"],
        ["0", "1", "2", "3", "4"],
    ]


def test_join_shows_its_headers(speaker: Client) -> None:
    """Section 7: a join of a headers feed shows the headers that it was made with."""
    feed, pipe = speaker.create_feed(type="headers"), speaker.create_pipe()
    header = pairs(x_match="any", kind="news")
    join = speaker.join(pipe, feed, header=header)
    by_name = sorted(speaker.read(join)["header"], key=lambda each: each["name"])
    assert by_name == [{"name": "kind", "value": "news"}, {"name": "x-match", "value": "any"}]


@pytest.mark.ours
@pytest.mark.parametrize("type_", ["", "fanout", "direct", "topic", *QUEUEING])
def test_headers_of_other_joins_are_dropped(broker: Client, type_: str) -> None:
    """Section 7: the headers of a join on another feed mean nothing, and are dropped."""
    feed, pipe = broker.create_feed(type=type_), broker.create_pipe()
    join = broker.join(pipe, feed, ADDRESS, header=pairs(kind="news"))
    assert "header" not in broker.read(join)
    broker.post_messages(feed, message(ADDRESS, message_id="1"))
    assert broker.ids(pipe) == ["1"]


@pytest.mark.ours
@pytest.mark.parametrize("type_", ["fanout", "topic"])
def test_x_match_of_other_joins_is_dropped(broker: Client, type_: str) -> None:
    """Section 7: so an x-match means nothing there either, whatever its value."""
    feed = broker.create_feed(type=type_)
    pipe = broker.create_joined(feed, ADDRESS, header=pairs(x_match="some"))
    broker.post_messages(feed, message(ADDRESS, message_id="1"))
    assert broker.ids(pipe) == ["1"]


# Full pipes


@pytest.mark.ours
@pytest.mark.parametrize("type_", ROUTING)
def test_full_pipes_are_told_of(small: Client, type_: str) -> None:
    """Section 7: where some pipes were full, `RestMS-Full` tells how many; where all were, 503."""
    feed = small.create_feed(type=type_)
    full = [small.create_joined(feed, ADDRESS) for _ in range(2)]
    small.post_messages(feed, *[message(ADDRESS)] * PER_PIPE)
    refused = expect(small.post(feed, restms(message=[message(ADDRESS)])), 503)
    assert int(refused.headers["Retry-After"]) >= 0
    assert refused.headers["RestMS-Error"] == "full"
    other = small.create_joined(feed, ADDRESS)
    answer = small.post_messages(feed, message(ADDRESS, message_id="1"))
    assert answer.headers["RestMS-Full"] == "2"
    assert answer.content == b""
    assert small.ids(other) == ["1"]
    small.acknowledge(small.messages(full[0])[0])
    assert small.post_messages(feed, message(ADDRESS)).headers["RestMS-Full"] == "1"


@pytest.mark.ours
def test_rotator_passes_over_a_full_pipe(small: Client) -> None:
    """Section 7: a join whose pipe is full is passed over, and the next one gets the message."""
    feed = small.create_feed(type="rotator")
    full, free = small.create_joined(feed), small.create_joined(feed)
    small.publish(DEFAULT_FEED, *[message(small.read(full)["name"])] * PER_PIPE)
    for n in "123":
        small.post_messages(feed, message(message_id=n))
    assert small.ids(free) == ["1", "2", "3"]


@pytest.mark.ours
def test_what_no_pipe_has_room_for_waits_in_the_feed(small: Client) -> None:
    """Section 7: where all pipes are full the feed takes the message, and hands it out later."""
    feed = small.create_feed(type="rotator")
    pipe = small.create_joined(feed)
    small.publish(DEFAULT_FEED, *[message(small.read(pipe)["name"])] * PER_PIPE)
    small.post_messages(feed, message(message_id="waited"))
    for _ in range(PER_PIPE):
        small.consume(pipe)
    until(lambda: small.ids(pipe) == ["waited"])


# Rotators and services: turns


def test_joins_are_served_in_strict_turn(broker: Client, queueing: str) -> None:
    """Section 7: each message goes to one join, in strict turn, however they are posted."""
    pipes = [broker.create_joined(queueing, address) for address in ("", "any", "#")]
    for first, count in ((0, 1), (1, 4), (5, 1), (6, 1), (7, 5)):
        broker.post_messages(queueing, *numbered(count, first, address=ADDRESS))
    shares = sorted([int(n) for n in broker.ids(pipe)] for pipe in pipes)
    assert shares == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]


def test_turns_go_on_without_those_who_left(broker: Client, queueing: str) -> None:
    """Section 7: a join that was deleted has no turn any more."""
    pipes = [broker.create_pipe() for _ in range(3)]
    joins = [broker.join(pipe, queueing) for pipe in pipes]
    broker.post_messages(queueing, *numbered(3))
    expect(broker.delete(joins[1]), 200)
    broker.post_messages(queueing, *numbered(4, first=4))
    assert [len(broker.ids(pipe)) for pipe in pipes] == [3, 1, 3]
    shares = [broker.ids(pipe)[1:] for pipe in (pipes[0], pipes[2])]
    assert sorted(shares) == [["4", "6"], ["5", "7"]]


def test_message_stays_when_its_join_is_deleted(broker: Client, rotator: str) -> None:
    """Section 7: a message in a pipe stays there until it is acknowledged, join or no join."""
    pipe = broker.create_pipe()
    join = broker.join(pipe, rotator)
    broker.post_messages(rotator, *numbered(2))
    expect(broker.delete(join), 200)
    other = broker.create_joined(rotator)
    broker.post_messages(rotator, *numbered(1, first=3))
    assert (broker.ids(pipe), broker.ids(other)) == (["1", "2"], ["3"])


# Rotators and services: the queue


def test_feed_without_joins_queues(broker: Client, queueing: str) -> None:
    """Section 7: without a join the feed queues; who joins gets it all, in order."""
    broker.post_messages(queueing, *numbered(2))
    broker.post_messages(queueing, *numbered(3, first=3))
    pipe = broker.create_joined(queueing)
    assert broker.ids(pipe) == ["1", "2", "3", "4", "5"]
    broker.post_messages(queueing, *numbered(1, first=6))
    assert broker.ids(pipe)[-1] == "6"


def test_what_was_queued_is_handed_out_once(broker: Client, queueing: str) -> None:
    """Section 7: a queued message, too, goes to one join only."""
    broker.post_messages(queueing, *numbered(4))
    first, second = broker.create_joined(queueing), broker.create_joined(queueing)
    assert sorted(broker.ids(first) + broker.ids(second)) == ["1", "2", "3", "4"]


@pytest.mark.ours
@pytest.mark.parametrize("type_", QUEUEING)
def test_queue_is_bounded(small: Client, type_: str) -> None:
    """Section 7: beyond the messages that a feed holds: 503, and nothing of the request stays."""
    feed = small.create_feed(type=type_)
    small.post_messages(feed, *numbered(PER_FEED - 1))
    refused = expect(small.post(feed, restms(message=numbered(2, first=100))), 503)
    assert refused.headers["RestMS-Error"] == "full"
    assert int(refused.headers["Retry-After"]) >= 0
    small.post_messages(feed, *numbered(1, first=PER_FEED))
    expect(small.post(feed, restms(message=numbered(1, first=100))), 503)
    pipe = small.create_joined(feed)
    received = [small.consume(pipe)["message_id"] for _ in range(PER_FEED)]
    assert received == [str(n) for n in range(1, PER_FEED + 1)]
    small.post_messages(feed, message(message_id="room"))
    assert small.ids(pipe) == ["room"]


# Rotators and services: what comes back


@pytest.mark.ours
def test_what_a_deleted_pipe_held_comes_back_in_order(speaker: Client, queueing: str) -> None:
    """Section 7: what a deleted pipe held goes to another join, redelivered, in its old order."""
    gone, heir = speaker.create_joined(queueing), speaker.create_joined(queueing, type="ondemand")
    speaker.post_messages(queueing, *numbered(4))
    assert "redelivered" not in speaker.consume(gone)
    expect(speaker.delete(gone), 200)
    speaker.post_messages(queueing, *numbered(1, first=5))
    received = [speaker.consume(heir) for _ in range(4)]
    assert [(got["message_id"], got.get("redelivered")) for got in received] == [
        ("2", "1"),
        ("3", "1"),
        ("4", "1"),
        ("5", None),
    ]


@pytest.mark.ours
def test_what_comes_back_has_its_old_place(broker: Client, queueing: str) -> None:
    """Section 7: a message that was taken comes back before those that still wait."""
    broker.post_messages(queueing, *numbered(3))
    gone, heir = (broker.create_joined(queueing, type="ondemand") for _ in range(2))
    assert broker.receive(broker.asynclet(gone))["message_id"] == "1"
    expect(broker.delete(gone), 200)
    received = [broker.consume(heir) for _ in range(3)]
    assert [(got["message_id"], got.get("redelivered")) for got in received] == [
        ("1", "1"),
        ("2", None),
        ("3", None),
    ]


@pytest.mark.ours
def test_what_comes_back_goes_to_who_waits(broker: Client, queueing: str) -> None:
    """Section 7: a reader who waits gets what another one's deleted pipe held."""
    gone, heir = (broker.create_joined(queueing, type="ondemand") for _ in range(2))
    broker.post_messages(queueing, message(ADDRESS, text("work")))
    broker.receive(broker.asynclet(gone))
    later = broker.get_later(broker.asynclet(heir))
    assert later.waits()
    expect(broker.delete(gone), 200)
    (received,) = broker.document(expect(later.answer(), 200))["message"]
    assert (received["redelivered"], data_of(received["content"][0])) == ("1", b"work")


@pytest.mark.ours
def test_what_was_acknowledged_does_not_come_back(broker: Client, queueing: str) -> None:
    """Section 7: only what a pipe still held comes back, and nothing of other feeds."""
    pipe, heir = broker.create_joined(queueing), broker.create_joined(queueing, type="ondemand")
    broker.post_messages(queueing, *numbered(2))
    for _ in range(2):
        broker.consume(pipe)
    broker.publish(DEFAULT_FEED, message(broker.read(pipe)["name"], message_id="of default"))
    expect(broker.delete(pipe), 200)
    broker.post_messages(queueing, *numbered(1, first=3))
    received = broker.consume(heir)
    assert (received["message_id"], received.get("redelivered")) == ("3", None)
    expect(broker.get(broker.asynclet(heir), prefer="wait=0"), 204)


# Services


def test_service_goes_with_its_last_join(broker: Client, service: str) -> None:
    """Section 7: a service deletes itself when its last join is deleted, and not before."""
    pipes = [broker.create_pipe() for _ in range(2)]
    joins = [broker.join(pipe, service) for pipe in pipes]
    expect(broker.delete(joins[0]), 200)
    expect(broker.get(service), 200)
    expect(broker.delete(joins[1]), 200)
    expect(broker.get(service), 404)
    expect(broker.post(service, restms(message=[message(ADDRESS)])), 404)
    name = urlsplit(service).path.rpartition("/")[2]
    assert name not in [feed["name"] for feed in broker.read(DOMAIN)["feed"]]


@pytest.mark.parametrize("type_", ["", "ondemand"])
def test_service_goes_with_its_last_pipe(broker: Client, service: str, type_: str) -> None:
    """Section 7: the last join may go with its pipe as well."""
    pipes = [broker.create_joined(service, type=type_) for _ in range(2)]
    expect(broker.delete(pipes[0]), 200)
    expect(broker.get(service), 200)
    expect(broker.delete(pipes[1]), 200)
    expect(broker.get(service), 404)


def test_service_that_went_can_be_made_again(broker: Client) -> None:
    """Section 7: what a service had queued is gone with it; a new one of its name is empty."""
    name = unique("service")
    service = broker.create_feed(name, "service")
    pipe = broker.create_joined(service, type="ondemand")  # which is not read, so it takes nothing
    broker.post_messages(service, message(message_id="old"))
    expect(broker.delete(pipe), 200)
    response = broker.post(DOMAIN, restms(feed=[{"name": name, "type": "service"}]))
    again = expect(response, 201).headers["Location"]
    broker.post_messages(again, message(message_id="new"))
    assert broker.ids(broker.create_joined(again)) == ["new"]


def test_service_without_a_join_yet_is_there(broker: Client, service: str) -> None:
    """Section 7: a service that has had no join yet is there, and queues."""
    broker.post_messages(service, *numbered(2))
    expect(broker.get(service), 200)
    assert broker.ids(broker.create_joined(service)) == ["1", "2"]


@pytest.mark.parametrize("what", ["join", "pipe"])
def test_rotator_outlives_its_joins(broker: Client, rotator: str, what: str) -> None:
    """Section 7: a rotator stays when its last join goes, and queues."""
    pipe = broker.create_pipe()
    join = broker.join(pipe, rotator)
    expect(broker.delete({"join": join, "pipe": pipe}[what]), 200)
    broker.post_messages(rotator, *numbered(1))
    assert broker.ids(broker.create_joined(rotator)) == ["1"]


# ondemand pipes


def test_ondemand_pipe_shows_its_type_and_has_no_join(speaker: Client) -> None:
    """Section 7: an ondemand pipe has no join on the feed `default`, and one asynclet."""
    described = speaker.read(speaker.create_pipe(type="ondemand"))
    assert described["type"] == "ondemand"
    assert "join" not in described
    assert [listed["async"] for listed in described["message"]] == ["1"]


def test_ondemand_pipe_cannot_be_a_reply_to(broker: Client) -> None:
    """Section 7: what is posted to `default` at an ondemand pipe's name reaches nobody."""
    pipe = broker.create_pipe(type="ondemand")
    assert broker.publish(DEFAULT_FEED, message(broker.read(pipe)["name"])) == [0]
    assert broker.messages(pipe) == []


@pytest.mark.parametrize("type_", ["default", "", *ROUTING])
def test_ondemand_pipe_on_a_feed_that_does_not_queue_is_403(broker: Client, type_: str) -> None:
    """Section 7: an ondemand pipe can be joined to rotator and service feeds only: else 403."""
    feed = DEFAULT_FEED if type_ == "default" else broker.create_feed(type=type_)
    pipe = broker.create_pipe(type="ondemand")
    expect(broker.post(pipe, restms(join=[{"feed": feed, "address": ADDRESS}])), 403)
    assert "join" not in broker.read(pipe)


def test_ondemand_pipe_takes_one_message_at_a_time(speaker: Client, queueing: str) -> None:
    """Section 7: an ondemand pipe holds one message at most, which it takes when it is read."""
    speaker.post_messages(queueing, message("work", text("a job"), message_id="1"), *numbered(2, 2))
    first, second = (speaker.create_joined(queueing, type="ondemand") for _ in range(2))
    assert speaker.messages(first) == speaker.messages(second) == []
    job = speaker.receive(speaker.asynclet(second))
    assert (job["address"], job["message_id"]) == ("work", "1")
    assert data_of(job["content"][0]) == b"a job"
    assert speaker.receive(speaker.asynclet(first))["message_id"] == "2"
    assert (speaker.ids(first), speaker.ids(second)) == (["2"], ["1"])
    assert speaker.listed(first)[-1]["async"] == "1"


def test_ondemand_message_can_be_read_again(broker: Client, rotator: str) -> None:
    """Section 7: reading it again, before the DELETE, gives the same one, on whatever node."""
    broker.post_messages(rotator, *numbered(2))
    pipe = broker.create_joined(rotator, type="ondemand")
    uri = broker.asynclet(pipe)
    assert [broker.receive(uri)["message_id"] for _ in range(4)] == ["1"] * 4
    broker.acknowledge(uri)
    expect(broker.get(uri), 404)
    assert broker.consume(pipe)["message_id"] == "2"


def test_readers_of_one_ondemand_pipe_get_the_same_message(broker: Client, rotator: str) -> None:
    """Section 7: however many read a pipe's next message, it takes one, and all get that."""
    pipe = broker.create_joined(rotator, type="ondemand")
    uri = broker.asynclet(pipe)
    waits = [broker.get_later(uri) for _ in range(4)]
    assert all(later.waits(0.05) for later in waits)
    broker.post_messages(rotator, *numbered(4))
    for later in waits:
        (received,) = broker.document(expect(later.answer(), 200))["message"]
        assert received["message_id"] == "1"


def test_next_ondemand_message_waits_for_the_acknowledgement(broker: Client, rotator: str) -> None:
    """Section 7: a GET on the next message waits until the last one is deleted."""
    broker.post_messages(rotator, *numbered(2))
    pipe = broker.create_joined(rotator, type="ondemand")
    first = broker.asynclet(pipe)
    broker.receive(first)
    later = broker.get_later(broker.asynclet(pipe))
    assert later.waits(0.3)
    assert broker.ids(pipe) == ["1"]
    broker.acknowledge(first)
    (received,) = broker.document(expect(later.answer(), 200))["message"]
    assert received["message_id"] == "2"


def test_head_takes_no_message(broker: Client, rotator: str) -> None:
    """Section 7: HEAD on the next message of an ondemand pipe takes nothing, nor does the list."""
    broker.post_messages(rotator, *numbered(1))
    looking, other = (broker.create_joined(rotator, type="ondemand") for _ in range(2))
    for _ in range(2):
        head = broker.head(broker.asynclet(looking))
        assert head.elapsed < timedelta(seconds=3)
    assert broker.messages(looking) == []
    assert broker.consume(other)["message_id"] == "1"


def test_ondemand_reader_who_does_not_wait_is_told_so(broker: Client, rotator: str) -> None:
    """Section 7: where there is no message and none is waited for, the answer is 204."""
    pipe, other = (broker.create_joined(rotator, type="ondemand") for _ in range(2))
    expect(broker.get(broker.asynclet(pipe), prefer="wait=0"), 204)
    broker.post_messages(rotator, *numbered(1))
    assert broker.consume(other)["message_id"] == "1"
    assert broker.messages(pipe) == []


@pytest.mark.parametrize("publisher", [0, 1])
def test_ondemand_reader_waits_for_a_message(broker: Client, queueing: str, publisher: int) -> None:
    """Section 7: a reader waits where there is no message, whatever node it comes by."""
    pipe = broker.create_joined(queueing, type="ondemand")
    later = broker.on(1 - publisher).get_later(broker.asynclet(pipe))
    assert later.waits()
    broker.on(publisher).post_messages(queueing, message(ADDRESS, text("job")))
    (received,) = broker.document(expect(later.answer(), 200))["message"]
    assert data_of(received["content"][0]) == b"job"


def test_ondemand_wait_ends_with_its_pipe(broker: Client, rotator: str) -> None:
    """Section 7: a wait for the next message ends with 404 when its pipe is deleted."""
    pipe = broker.create_joined(rotator, type="ondemand")
    later = broker.on(0).get_later(broker.asynclet(pipe))
    assert later.waits()
    broker.on(1).delete(pipe)
    expect(later.answer(), 404)


def test_ondemand_pipe_takes_from_all_its_feeds(broker: Client) -> None:
    """Section 7: an ondemand pipe that is joined to several feeds takes from each."""
    feeds = [broker.create_feed(type=type_) for type_ in QUEUEING]
    pipe = broker.create_pipe(type="ondemand")
    for feed in feeds:
        broker.join(pipe, feed)
        broker.post_messages(feed, *numbered(3, address=urlsplit(feed).path))
    received = [broker.consume(pipe) for _ in range(6)]
    for feed in feeds:
        own = [got["message_id"] for got in received if got["address"] == urlsplit(feed).path]
        assert own == ["1", "2", "3"]


def test_each_of_many_who_wait_gets_one_message(broker: Client, queueing: str) -> None:
    """Section 7: of readers who wait, on whatever nodes, each gets exactly one message."""
    pipes = [broker.create_joined(queueing, type="ondemand") for _ in range(8)]
    waits = [broker.get_later(broker.asynclet(pipe)) for pipe in pipes]
    assert all(later.waits(0.05) for later in waits)
    broker.post_messages(queueing, *numbered(3))
    for n in range(4, 9):
        broker.post_messages(queueing, *numbered(1, first=n))
    answers = [expect(later.answer(), 200) for later in waits]
    received = [broker.document(answer)["message"][0]["message_id"] for answer in answers]
    assert sorted(received) == ["1", "2", "3", "4", "5", "6", "7", "8"]
    assert [broker.ids(pipe) for pipe in pipes] == [[each] for each in received]


def test_one_message_ends_one_wait(broker: Client, rotator: str) -> None:
    """Section 7: of several readers who wait one gets the message, and the others go on waiting."""
    pipes = [broker.create_joined(rotator, type="ondemand") for _ in range(4)]
    waits = [broker.get_later(broker.asynclet(pipe)) for pipe in pipes]
    assert all(later.waits(0.05) for later in waits)
    while waits:
        broker.post_messages(rotator, *numbered(1))
        until(lambda: not all(later.waits(0) for later in waits))
        served = [later for later in waits if not later.waits(0.1)]
        assert len(served) == 1
        expect(served[0].answer(), 200)
        waits.remove(served[0])


def test_reader_who_was_served_longest_ago_is_next(broker: Client, rotator: str) -> None:
    """Section 7: of readers who wait, the one served longest ago gets the next message."""
    pipes = [broker.create_joined(rotator, type="ondemand") for _ in range(4)]
    broker.post_messages(rotator, *numbered(len(pipes)))
    for pipe in pipes:
        broker.consume(pipe)
    # They come to wait in the opposite order.
    waits = [broker.get_later(broker.asynclet(pipe)) for pipe in reversed(pipes)][::-1]
    assert waits[0].waits(REGISTERED_SECONDS)
    for later in waits:
        broker.post_messages(rotator, *numbered(1))
        expect(later.answer(), 200)


def test_plain_pipes_and_waiting_readers_take_turns(broker: Client, rotator: str) -> None:
    """Section 7: on a feed with both kinds, a plain pipe and a waiting reader take turns."""
    plain, ondemand = broker.create_joined(rotator), broker.create_joined(rotator, type="ondemand")
    later, served = broker.get_later(broker.asynclet(ondemand)), 0
    for n in range(6):
        assert later.waits(0.2)
        broker.post_messages(rotator, *numbered(1, first=n))
        until(lambda later=later, n=n: not later.waits(0) or str(n) in broker.ids(plain))
        if not later.waits(0):
            expect(later.answer(), 200)
            served += 1
            broker.acknowledge(broker.messages(ondemand)[0])
            later = broker.get_later(broker.asynclet(ondemand))
    # Three each; but a reader that comes too late to wait misses its turn.
    assert 2 <= served <= 4
    assert len(broker.ids(plain)) == 6 - served
