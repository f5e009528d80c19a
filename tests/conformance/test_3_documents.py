"""Section 3: the documents, in XML, JSON and CBOR."""

from urllib.parse import urlsplit

import cbor2
import httpx
import pytest
from lxml import etree

from tests.conformance.client import DOMAIN, Client, expect, unique
from tests.conformance.conftest import ADDRESS
from tests.conformance.documents import (
    CBOR,
    JSON,
    NAMESPACE,
    XML,
    Element,
    binary,
    data_of,
    message,
    restms,
    text,
    write_xml,
)

PROPERTIES = {
    "delivery_mode": "2",
    "priority": "9",
    "correlation_id": "c-1",
    "reply_to": "me",
    "expiration": "60000",
    "message_id": "m-1",
    "timestamp": "2009-03-16T20:33:51Z",
    "type": "report",
    "user_id": "guest",
    "app_id": "app",
    "sender_id": "s-1",
}
ODD_TEXTS = [
    " leading and trailing ",
    "<tag attr=\"a\" b='c'> & &amp; ]]>",
    "line\nfeed, tab\tand more",
    "Grüße, 漢字, \U0001f600",
    "0",
]


def post(broker: Client, uri: str, media_type: str, body: bytes) -> httpx.Response:
    """Post a document as these very bytes."""
    return broker.request("POST", uri, body=body, headers={"content-type": media_type})


# The tree


def test_root_is_restms_in_its_namespace(broker: Client) -> None:
    """Section 3: the root element is `restms`, in the namespace of RestMS."""
    root = etree.fromstring(broker.get(DOMAIN).content)
    assert root.tag == f"{{{NAMESPACE}}}restms"
    assert {etree.QName(element).namespace for element in root.iter()} == {NAMESPACE}


@pytest.mark.ours
@pytest.mark.parametrize("namespace", [None, "http://www.imatix.com/schema/restms", "urn:x"])
def test_any_namespace_or_none_is_accepted(broker: Client, namespace: str | None) -> None:
    """Section 3: on input any namespace or none will do (the reference client has another)."""
    name = unique("news")
    body = write_xml(restms(feed=[{"name": name}]), namespace)
    response = expect(post(broker, DOMAIN, XML.media_type, body), 201)
    assert urlsplit(response.headers["Location"]).path == f"/restms/feed/{name}"


@pytest.mark.ours
def test_prefixed_namespace_is_accepted(broker: Client) -> None:
    """Section 3: a namespace may as well come with a prefix, and with an encoding of its own."""
    name = unique("news")
    body = (
        f'<?xml version="1.0" encoding="ISO-8859-1"?><!-- Hi --><r:restms xmlns:r="{NAMESPACE}">'
        f'<r:feed name="{name}" title="Gr\xfc\xdfe"/></r:restms>'
    ).encode("iso-8859-1")
    response = expect(post(broker, DOMAIN, XML.media_type, body), 201)
    assert broker.read(response.headers["Location"])["title"] == "Grüße"


def test_unknown_elements_and_attributes_are_dropped(speaker: Client, feed: str, pipe: str) -> None:
    """Section 3: unknown elements and attributes are tolerated and dropped."""
    posted = message(ADDRESS, text("known"), message_id="m-1", colour="blue")
    posted["footer"] = [{"name": "unknown", "deep": [{"deeper": [{"value": "x"}]}]}]
    posted["content"][0]["colour"] = "red"
    posted["content"][0]["footnote"] = [{"value": "x"}] if speaker.format is not XML else []
    document = restms(message=[posted], weather=[{"today": "fine"}])
    document["restms"]["version"] = "7"
    expect(speaker.post(feed, document), 200)
    (received,) = speaker.receive_all(pipe)
    assert set(received) <= {"address", "message_id", "content", "href"}
    (content,) = received["content"]
    assert set(content) <= {"type", "encoding", "value"}
    assert data_of(content) == b"known"


def test_unknown_elements_in_a_feed_are_dropped(speaker: Client) -> None:
    """Section 3: so they are when a feed is made."""
    feed = {"name": unique("news"), "colour": "blue", "note": [{"value": "x"}]}
    created = expect(speaker.post(DOMAIN, restms(feed=[feed])), 201)
    assert not {"colour", "note"} & set(speaker.document(created)["feed"][0])


def test_documents_are_the_same_tree_in_every_format(
    broker: Client, speaker: Client, feed: str, pipe: str
) -> None:
    """Section 3: JSON and CBOR are the tree that XML is, name by name and list by list."""
    broker.publish(feed, message(ADDRESS, message_id="m-1"))
    join = broker.read(pipe)["join"][0]["href"]
    for uri in (DOMAIN, feed, pipe, join, broker.messages(pipe)[0]):
        # Each node is asked under its own host, which stands in its URIs.
        assert speaker.on(0).read(uri) == broker.on(0).read(uri)


def test_every_child_name_holds_a_list_in_json(broker: Client, feed: str, pipe: str) -> None:
    """Section 3: in JSON every child name holds a list, be it of one; properties are texts."""
    broker.publish(feed, message(ADDRESS, text("hello"), header=[("colour", "red")]))
    (held,) = broker.messages(pipe)
    document = broker.get(held, accept=JSON.media_type).json()
    assert list(document) == ["restms"]
    _check_lists(document["restms"])
    (received,) = document["restms"]["message"]
    assert received["header"] == [{"name": "colour", "value": "red"}]
    assert received["content"][0]["value"] == "hello"


@pytest.mark.ours
def test_single_object_is_accepted_in_place_of_a_list(broker: Client, feed: str, pipe: str) -> None:
    """Section 3: on input a single object may stand where a list would."""
    posted = {"address": ADDRESS, "header": {"name": "a", "value": "b"}, "content": text("hello")}
    expect(broker.in_format(JSON).post(feed, {"restms": {"message": posted}}), 200)
    (received,) = broker.receive_all(pipe)
    assert received["header"] == [{"name": "a", "value": "b"}]
    assert data_of(received["content"][0]) == b"hello"


@pytest.mark.ours
def test_binary_content_is_a_byte_string_in_cbor(broker: Client, feed: str, pipe: str) -> None:
    """Section 3: CBOR has a byte string where a content is binary, both ways."""
    data = bytes(range(256))
    content = {"type": "image/png", "value": data}
    broker.in_format(CBOR).publish(feed, message(ADDRESS, content))
    (held,) = broker.messages(pipe)
    (read,) = cbor2.loads(broker.get(held, accept=CBOR.media_type).content)["restms"]["message"]
    assert read["content"][0]["value"] == data
    assert "encoding" not in read["content"][0] or read["content"][0]["encoding"] != "base64"
    (as_xml,) = broker.receive(held)["content"]
    assert as_xml["encoding"] == "base64"
    assert data_of(as_xml) == data


@pytest.mark.ours
def test_cbor_contents_may_be_base64_too(broker: Client, feed: str, pipe: str) -> None:
    """Section 3: CBOR is the JSON tree, so a text in base64 is as good as the bytes."""
    broker.in_format(CBOR).publish(feed, message(ADDRESS, binary(b"\x00\xff", "image/png")))
    (received,) = broker.in_format(CBOR).receive_all(pipe)
    assert data_of(received["content"][0]) == b"\x00\xff"


@pytest.mark.parametrize("value", ODD_TEXTS)
def test_texts_are_carried_exactly(speaker: Client, feed: str, pipe: str, value: str) -> None:
    """Section 3: properties, headers and text contents come out as they went in, in any format."""
    posted = message(ADDRESS, text(value), correlation_id=value, header=[("name", value)])
    speaker.publish(feed, posted)
    for format in (XML, JSON):
        (received,) = speaker.in_format(format).receive_all(pipe)
        assert received["correlation_id"] == value
        assert received["header"][0]["value"] == value
        assert data_of(received["content"][0]) == value.encode()


@pytest.mark.ours
def test_text_that_xml_cannot_carry(broker: Client, feed: str, pipe: str) -> None:
    """Section 3: a content with characters that XML forbids is binary to it; a property is 400."""
    odd = "null \x00 and \x0b"
    in_json = broker.in_format(JSON)
    expect(in_json.post(feed, restms(message=[message(ADDRESS, correlation_id=odd)])), 400)
    in_json.publish(feed, message(ADDRESS, text(odd)))
    (received,) = broker.in_format(XML).receive_all(pipe)
    assert data_of(received["content"][0]) == odd.encode()


# The nouns


def test_domain_has_name_title_profiles_and_feeds(speaker: Client, feed: str) -> None:
    """Section 3: a domain has name and title; profiles with name, title, href; feeds with href."""
    domain = speaker.read(DOMAIN)
    assert {"name", "title", "profile", "feed"} <= set(domain)
    for profile in domain["profile"]:
        assert {"name", "title", "href"} <= set(profile)
    for listed in domain["feed"]:
        assert {"name", "href"} <= set(listed) <= {"name", "title", "type", "license", "href"}


def test_feed_has_name_type_title_and_license(speaker: Client) -> None:
    """Section 3: a feed has name, type, title and license."""
    name = unique("news")
    feed = speaker.create_feed(name, title="News & <more>", license="CC0")
    described = speaker.read(feed)
    wanted = {"name": name, "title": "News & <more>", "license": "CC0"}
    assert {key: described[key] for key in wanted} == wanted
    assert described.get("type", "") == ""


def test_pipe_lists_joins_then_messages_then_the_asynclet(
    speaker: Client, feed: str, pipe: str
) -> None:
    """Section 3: a pipe has name, type, title; joins; messages; and last the asynclet."""
    speaker.put(pipe, restms(pipe=[{"title": "Mine"}]))
    speaker.publish(feed, message(ADDRESS, message_id="m-1"), message(ADDRESS, message_id="m-2"))
    described = speaker.read(pipe)
    assert described["title"] == "Mine"
    assert described.get("type", "") == ""
    for join in described["join"]:
        assert {"href", "address", "feed"} <= set(join) <= {"href", "type", "address", "feed"}
    *messages, asynclet = described["message"]
    assert [listed["message_id"] for listed in messages] == ["m-1", "m-2"]
    assert all(listed["address"] == ADDRESS for listed in messages)
    assert all("async" not in listed for listed in messages)
    assert asynclet["async"] == "1"
    assert set(asynclet) == {"href", "async"}


def test_pipe_elements_are_in_order_in_xml(broker: Client, feed: str, pipe: str) -> None:
    """Section 3: in the XML of a pipe the asynclet is the very last child."""
    broker.publish(feed, message(ADDRESS))
    (described,) = etree.fromstring(broker.get(pipe).content)
    assert [etree.QName(child).localname for child in described] == [
        *("join", "join"),
        *("message", "message"),
    ]
    assert [child.get("async") for child in described] == [None, None, None, "1"]


def test_join_has_address_and_feed(speaker: Client, feed: str) -> None:
    """Section 3: a join has type, address and feed."""
    join = speaker.read(speaker.join(speaker.create_pipe(), feed, "a & b"))
    assert join["address"] == "a & b"
    assert urlsplit(join["feed"]).path == urlsplit(feed).path


@pytest.mark.parametrize("name", [*PROPERTIES])
def test_message_property_is_carried_untouched(
    broker: Client, feed: str, pipe: str, name: str
) -> None:
    """Section 3: each message property of 4/AMQP9 is carried through untouched."""
    broker.publish(feed, message(ADDRESS, **{name: PROPERTIES[name]}))
    (received,) = broker.receive_all(pipe)
    assert received[name] == PROPERTIES[name]


def test_message_properties_are_carried_in_every_format(
    speaker: Client, feed: str, pipe: str
) -> None:
    """Section 3: all properties together, in each format, and none that was not posted."""
    speaker.publish(feed, message(ADDRESS, **PROPERTIES), message(ADDRESS))
    full, bare = speaker.receive_all(pipe)
    assert {name: full[name] for name in PROPERTIES} == PROPERTIES
    assert full["address"] == ADDRESS
    assert not {name for name in PROPERTIES if bare.get(name)}


def test_headers_are_carried_in_order(speaker: Client, feed: str, pipe: str) -> None:
    """Section 3: a message's headers may repeat, and come out in their order."""
    headers = [("colour", "red"), ("size", ""), ("colour", "blue"), ("größe", "XL")]
    speaker.publish(feed, message(ADDRESS, header=headers))
    (received,) = speaker.receive_all(pipe)
    assert [(header["name"], header["value"]) for header in received["header"]] == headers


def test_message_has_no_address_but_its_own(broker: Client, feed: str) -> None:
    """Section 3: an `address` may be left out; it is then empty, and joins match that."""
    pipe = broker.create_pipe()
    broker.join(pipe, feed, "")
    assert broker.publish(feed, {"message_id": "m-1"}) == [1]
    (received,) = broker.receive_all(pipe)
    assert received.get("address", "") == ""


def test_content_encoding_is_plain_unless_said(speaker: Client, feed: str, pipe: str) -> None:
    """Section 3: a content's text is its value: plain by default, or base64."""
    contents: list[Element] = [
        {"type": "text/plain", "value": "aGVsbG8="},
        {"type": "text/plain", "encoding": "plain", "value": "aGVsbG8="},
        {"type": "text/plain", "encoding": "base64", "value": "aGVsbG8="},
        {"type": "text/plain", "encoding": "base64", "value": " aGVs\n bG8= "},
    ]
    speaker.publish(feed, message(ADDRESS, *contents))
    (received,) = speaker.receive_all(pipe)
    assert [data_of(content) for content in received["content"]] == [
        *(b"aGVsbG8=", b"aGVsbG8="),
        *(b"hello", b"hello"),
    ]


@pytest.mark.parametrize(
    "content",
    [
        {"type": "image/png", "encoding": "base64", "value": "not base64!"},
        {"type": "image/png", "encoding": "base64", "value": "abc"},
        {"type": "image/png", "encoding": "rot13", "value": "abc"},
        {"type": "no type at all", "value": "abc"},
        {"type": "text/plain\r\nX-Injected: 1", "value": "abc"},
    ],
    ids=["base64", "padding", "encoding", "type", "injection"],
)
def test_bad_content_is_400_and_nothing_is_routed(
    speaker: Client, feed: str, pipe: str, content: Element
) -> None:
    """Section 3: a content that cannot be understood makes its whole document a bad one."""
    document = restms(message=[message(ADDRESS), message(ADDRESS, content)])
    expect(speaker.post(feed, document), 400)
    assert speaker.messages(pipe) == []


def _check_lists(element: dict[str, object]) -> None:
    for value in element.values():
        assert isinstance(value, str | list)
        if isinstance(value, list):
            for child in value:
                _check_lists(child)
