"""How resources are described: section 3 of the protocol."""

import pytest

from restms_cluster.model import (
    Domain,
    Embedded,
    Feed,
    Header,
    Join,
    Listed,
    Message,
    Pipe,
    Routed,
    Stored,
)
from restms_cluster.names import FeedName, Kind, Token
from restms_cluster.profiles import Profile
from restms_node import documents
from restms_node.uris import Uris

URIS = Uris("http://h")
PIPE = Token(Kind.PIPE, "a" * 32)
JOIN = Join(
    Token(Kind.JOIN, "b" * 32),
    PIPE,
    FeedName("default", "news"),
    "topic",
    "x.*",
    (Header("n", "v"),),
    1,
)
NEWS = Feed(FeedName("default", "news"), "topic", "News", "", 1)


def resource(token):
    return f"http://h/restms/resource/{token}"


def test_a_domain_has_profiles_and_feeds():
    domain = Domain("default", "All", 1, (NEWS,))
    profile = Profile("3/Defaults", "Default types", "", "")
    assert documents.domain_tree(domain, [profile], URIS) == {
        "domain": [
            {
                "name": "default",
                "title": "All",
                "profile": [
                    {
                        "name": "3/Defaults",
                        "title": "Default types",
                        "href": "http://h/restms/profile/3/Defaults",
                    }
                ],
                "feed": [
                    {
                        "name": "news",
                        "type": "topic",
                        "title": "News",
                        "href": "http://h/restms/feed/news",
                    }
                ],
            }
        ]
    }


def test_an_empty_domain_says_its_name():
    assert documents.domain_tree(Domain("d", "", 1, ()), [], URIS) == {"domain": [{"name": "d"}]}


def test_a_private_feed_is_named_by_its_token():
    token = Token(Kind.FEED, "c" * 32)
    feed = Feed(FeedName.private(token), "", "", "MIT", 1)
    assert documents.feed_tree(feed, URIS) == {
        "feed": [{"name": str(token), "type": "", "license": "MIT", "href": resource(token)}]
    }


def test_a_pipe_lists_its_joins_its_messages_and_last_the_asynclet():
    listed = (Listed(PIPE.message(1), "x.y", "m1"), Listed(PIPE.message(2), "", ""))
    pipe = Pipe(PIPE, "", "", 1, (JOIN,), listed, PIPE.message(3))
    assert documents.pipe_tree(pipe, URIS) == {
        "pipe": [
            {
                "name": str(PIPE),
                "type": "",
                "href": resource(PIPE),
                "join": [
                    {
                        "href": resource(JOIN.token),
                        "type": "topic",
                        "address": "x.*",
                        "feed": "http://h/restms/feed/news",
                    }
                ],
                "message": [
                    {"href": resource(f"{PIPE}-1"), "address": "x.y", "message_id": "m1"},
                    {"href": resource(f"{PIPE}-2"), "address": ""},
                    {"href": resource(f"{PIPE}-3"), "async": "1"},
                ],
            }
        ]
    }


def test_a_pipe_that_is_cut_short_has_no_asynclet():
    pipe = Pipe(PIPE, "", "", 1, (), (Listed(PIPE.message(1), "a", ""),), None)
    (message,) = documents.pipe_tree(pipe, URIS)["pipe"][0]["message"]
    assert "async" not in message


def test_a_join_has_its_headers():
    (join,) = documents.join_tree(JOIN, URIS)["join"]
    assert join["header"] == [{"name": "n", "value": "v"}]
    assert join["feed"] == "http://h/restms/feed/news"


def message(*contents, **properties):
    return Message(PIPE.message(1), 1, properties, (), contents)


def test_a_message_has_its_address_and_what_else_is_not_empty():
    tree = documents.message_tree(message(message_id="m", priority=""), URIS)
    assert tree == {"message": [{"address": "", "message_id": "m"}]}


def test_a_large_content_is_named_with_its_type_and_length():
    stored = Stored(PIPE.message(1).part(1), "video/ogg", 10**9)
    assert documents.message_tree(message(stored), URIS)["message"][0]["content"] == [
        {"type": "video/ogg", "href": resource(f"{PIPE}-1-1"), "length": "1000000000"}
    ]


@pytest.mark.parametrize(
    ("kind", "posted", "value"),
    [
        ("text/plain", b"S\xc3\xbc\xc3\x9f", "Süß"),
        ("text/plain; charset=UTF-8", b"x", "x"),
        ('TEXT/HTML; x=y; charset="us-ascii"', b"x", "x"),
        ("text/plain; charset=latin-1", b"x", b"x"),
        ("text/plain", b"\xff", b"\xff"),
        ("text/plain", b"\0", b"\0"),
        ("application/json", b"{}", b"{}"),
        ("application/json", "{}", "{}"),
    ],
)
def test_text_is_shown_as_text_although_it_was_posted_as_bytes(kind, posted, value):
    tree = documents.message_tree(message(Embedded(kind, posted)), URIS)
    assert tree["message"][0]["content"] == [{"type": kind, "value": value}]


def test_what_became_of_each_posted_message():
    assert documents.routed_tree([Routed(2, 0), Routed(0, 1)]) == {
        "message": [{"count": "2"}, {"count": "0", "full": "1"}]
    }
