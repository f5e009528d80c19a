"""What posted documents mean, and the limits that they must keep."""

from dataclasses import replace

import pytest

from restms_cluster.errors import BadRequestError, TooLargeError
from restms_cluster.model import Embedded, Header, Limits
from restms_node import documents
from restms_node.documents import FeedChange, FeedDraft, JoinDraft, PipeChange, PipeDraft

LIMITS = Limits()


def content(element, limits=LIMITS):
    (draft,) = documents.message_post({"message": [{"content": [element]}]}, limits)
    return draft.contents[0]


def test_a_feed_posted_to_a_domain():
    tree = {"feed": [{"name": "news", "type": "topic", "title": "News", "x": "?"}]}
    assert documents.domain_post(tree, LIMITS) == FeedDraft("news", "topic", "News", "")


def test_a_pipe_posted_to_a_domain_as_the_reference_client_does():
    tree = {"pipe": [{"type": "fifo", "name": ""}]}
    assert documents.domain_post(tree, LIMITS) == PipeDraft("fifo", "")


@pytest.mark.parametrize(
    "tree",
    [
        {},
        {"domain": [{"feed": [{"name": "a"}]}]},
        {"feed": [{"name": "a"}, {"name": "b"}]},
        {"feed": [{}], "pipe": [{}]},
        {"feed": "news"},
        {"feed": ["news"]},
        {"feed": [{"name": [{}]}]},
        {"feed": [{"name": b"news"}]},
        {"feed": [{"title": "\0"}]},
        {"feed": [{"name": "x" * 256}]},
        {"pipe": [{"title": "x" * 4097}]},
    ],
)
def test_what_a_domain_does_not_take(tree):
    with pytest.raises(BadRequestError):
        documents.domain_post(tree, LIMITS)


def test_a_change_tells_what_is_not_said_from_what_is_empty():
    tree = {"feed": [{"title": "", "name": ""}]}
    assert documents.feed_change(tree, LIMITS) == FeedChange("", None, None, None)
    assert documents.pipe_change({"pipe": [{"type": "x"}]}, LIMITS) == PipeChange(None, "x")
    with pytest.raises(BadRequestError):
        documents.pipe_change(tree, LIMITS)


def test_a_join_has_a_feed_and_headers():
    join = {"feed": "/restms/feed/a", "address": "*.b", "header": [{"name": "n"}]}
    expected = JoinDraft("", "*.b", "/restms/feed/a", (Header("n", ""),))
    assert documents.join_post({"join": [join]}, LIMITS) == expected


@pytest.mark.parametrize("header", [{"value": "v"}, {"name": "", "value": "w"}])
def test_a_join_s_header_without_a_name_is_refused(header):
    with pytest.raises(BadRequestError, match="must have a name"):
        documents.join_post({"join": [{"feed": "/restms/feed/a", "header": [header]}]}, LIMITS)


@pytest.mark.parametrize(
    "join", [{}, {"feed": ""}, {"feed": [{"name": "a"}]}, {"feed": "a", "address": "x" * 1025}]
)
def test_what_is_no_join(join):
    with pytest.raises(BadRequestError):
        documents.join_post({"join": [join]}, LIMITS)


def test_a_message_keeps_the_known_properties_that_are_not_empty():
    element = {"address": "a", "reply_to": "b", "priority": "", "colour": "red", "feed": [{}]}
    (draft,) = documents.message_post({"message": [element]}, LIMITS)
    assert draft.properties == {"address": "a", "reply_to": "b"}


def test_many_messages_in_one_document_keep_their_order():
    tree = {"message": [{"address": str(number)} for number in range(100)]}
    drafts = documents.message_post(tree, LIMITS)
    assert [draft.properties["address"] for draft in drafts] == [str(n) for n in range(100)]


def test_a_message_without_anything_is_a_message():
    (draft,) = documents.message_post({"message": [{}]}, LIMITS)
    assert (draft.properties, draft.headers, draft.contents) == ({}, (), ())


@pytest.mark.parametrize("tree", [{}, {"message": []}, {"message": "x"}, {"feed": [{}]}])
def test_a_feed_takes_messages_only(tree):
    with pytest.raises(BadRequestError):
        documents.message_post(tree, LIMITS)


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        ({}, Embedded("text/plain", "")),
        ({"value": "Süß"}, Embedded("text/plain", "Süß")),
        ({"value": "x", "encoding": "plain", "type": ""}, Embedded("text/plain", "x")),
        (
            {"value": "A\nP 8=", "encoding": "base64"},
            Embedded("application/octet-stream", b"\0\xff"),
        ),
        ({"encoding": "base64", "type": "image/png"}, Embedded("image/png", b"")),
        ({"value": b"\0"}, Embedded("application/octet-stream", b"\0")),
        ({"value": "x", "type": 'a/b; c="d e"'}, Embedded('a/b; c="d e"', "x")),
        ({"href": "/restms/resource/c1", "value": "x"}, "/restms/resource/c1"),
    ],
)
def test_a_content_is_embedded_or_named(element, expected):
    assert content(element) == expected


@pytest.mark.parametrize(
    "element",
    [
        {"value": "x", "encoding": "rot13"},
        {"value": "x", "encoding": [{}]},
        {"value": "A", "encoding": "base64"},
        {"value": "AP8", "encoding": "base64"},
        {"value": "AP8=AP8=", "encoding": "base64"},
        {"value": "A-_=", "encoding": "base64"},
        {"value": "ÄÄÄÄ", "encoding": "base64"},
        {"value": b"AP8=", "encoding": "base64"},
        {"value": [{}]},
        {"value": "x", "type": "text"},
        {"value": "x", "type": "text/plain\r\nX: y"},
        {"value": "x", "type": "text/plain; charset=ü"},
        {"value": "x", "type": [{}]},
        {"value": "x", "type": "a/" + "b" * 254},
        {"href": "x" * 4097},
        {"href": [{}]},
    ],
)
def test_what_is_no_content(element):
    with pytest.raises(BadRequestError):
        content(element)


@pytest.mark.parametrize(
    ("name", "longest"), [("address", 1024), ("reply_to", 4096), ("sender_id", 4096)]
)
def test_the_longest_property_passes_and_a_longer_one_does_not(name, longest):
    tree = {"message": [{name: "x" * longest}]}
    assert documents.message_post(tree, LIMITS)[0].properties == {name: "x" * longest}
    with pytest.raises(BadRequestError):
        documents.message_post({"message": [{name: "x" * (longest + 1)}]}, LIMITS)


@pytest.mark.parametrize("name", ["name", "value"])
@pytest.mark.parametrize("text", ["\0", "x" * 4097, b"x"])
def test_a_header_s_text_is_checked(name, text):
    with pytest.raises(BadRequestError):
        documents.message_post({"message": [{"header": [{"name": "n", name: text}]}]}, LIMITS)


def test_too_many_is_too_large():
    limits = replace(LIMITS, messages_per_request=2, headers_per_message=2, contents_per_message=2)
    header, part = {"name": "n"}, {"href": "/c"}
    most = {"message": [{"header": [header] * 2, "content": [part] * 2}] * 2}
    assert len(documents.message_post(most, limits)) == 2
    for tree in (
        {"message": [{}] * 3},
        {"message": [{"header": [header] * 3}]},
        {"message": [{"content": [part] * 3}]},
    ):
        with pytest.raises(TooLargeError):
            documents.message_post(tree, limits)
    with pytest.raises(TooLargeError):
        documents.join_post({"join": [{"feed": "/f", "header": [header] * 3}]}, limits)


@pytest.mark.parametrize(
    ("fits", "exceeds"),
    [
        ({"value": "xxxx"}, {"value": "xxxxx"}),
        ({"value": "üü"}, {"value": "üüü"}),
        ({"value": b"xxxx"}, {"value": b"xxxxx"}),
        (
            {"value": "eHh4eA==", "encoding": "base64"},
            {"value": "eHh4eHg=", "encoding": "base64"},
        ),
    ],
)
def test_a_content_s_decoded_bytes_are_limited(fits, exceeds):
    limits = replace(LIMITS, content_bytes=4)
    assert len(content(fits, limits).data) == 4
    with pytest.raises(TooLargeError):
        content(exceeds, limits)
