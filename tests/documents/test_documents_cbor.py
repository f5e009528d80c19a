"""CBOR: the JSON tree with byte strings, and nothing that a decoder could be made to work for."""

import time

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restms_cluster import blobs
from restms_cluster.errors import BadRequestError
from restms_cluster.model import PROPERTIES, Draft, Embedded, Header
from restms_node import documents_cbor as cbor


def test_it_is_the_json_tree():
    document = cbor2.dumps({"restms": {"message": {"address": "a", "priority": 5}}})
    assert cbor.read(document) == {"message": [{"address": "a", "priority": "5"}]}


def test_a_binary_content_is_a_byte_string_and_needs_no_encoding():
    contents = [{"type": "a/b", "value": b"\0\xff"}, {"type": "t/t", "value": "x"}]
    written = cbor.write({"message": [{"content": contents}]})
    assert cbor2.loads(written)["restms"]["message"][0]["content"] == [
        {"type": "a/b", "value": b"\0\xff"},
        {"type": "t/t", "value": "x", "encoding": "plain"},
    ]
    assert "encoding" not in contents[1]


def test_indefinite_lengths_are_accepted():
    """Streaming encoders write them (RFC 8949 3.2)."""
    document = b"\xbf\x66restms\xbf\x64feed\x9f\xbf\x64name\x7f\x61a\x61b\xff\xff\xff\xff\xff"
    assert cbor.read(document) == {"feed": [{"name": "ab"}]}


def test_a_stored_message_is_wrapped_as_it_is():
    draft = Draft({"address": "a"}, (Header("n", "v"),), (Embedded("a/b", b"\0"),))
    message = {
        "address": "a",
        "header": [{"name": "n", "value": "v"}],
        "content": [{"type": "a/b", "value": b"\0"}],
    }
    assert cbor.read(cbor.wrap_message(blobs.pack(draft))) == {"message": [message]}


TEXTS = st.text(max_size=30)
DRAFTS = st.builds(
    Draft,
    st.dictionaries(st.sampled_from(PROPERTIES), st.text(min_size=1, max_size=30)),
    st.lists(st.builds(Header, TEXTS, TEXTS), max_size=3).map(tuple),
    st.lists(st.builds(Embedded, TEXTS, TEXTS | st.binary(max_size=300)), max_size=3).map(tuple),
)


@given(
    st.lists(st.tuples(st.integers(1, 10**16 - 1), DRAFTS), max_size=300),
    st.sampled_from(["/p-", "http://127.0.0.1:8080/" + "x" * 300 + "-"]),
)
def test_stored_messages_get_their_href_without_being_decoded(numbered, prefix):
    linked = cbor.Linked(prefix)
    items = [linked.item(b"%d" % number, blobs.pack(draft)) for number, draft in numbered]
    expected = [
        {"href": f"{prefix}{number}", **cbor2.loads(blobs.pack(draft))}
        for number, draft in numbered
    ]
    assert [cbor2.loads(item) for item in items] == expected
    assert cbor2.loads(cbor.wrap_messages(items)) == {"restms": {"message": expected}}


def within(value):
    """Return a document with these bytes as the value of an attribute."""
    return b"\xa1\x66restms\xa1\x64feed\xa1\x65title" + value


def test_the_frame_of_the_hostile_documents_is_itself_good():
    assert cbor.read(within(b"\x61x")) == {"feed": [{"title": "x"}]}


TAGGED = {
    "date": b"\xc1\x00",
    "date text": b"\xc0\x74" + b"2013-03-21T20:04:00Z",
    "huge number": b"\xc2\x42\x01\x00",
    "decimal": b"\xc4\x82\x1b\x7f\xff\xff\xff\xff\xff\xff\xff\x01",
    "power of two": b"\xc5\x82\x1b\x7f\xff\xff\xff\xff\xff\xff\xff\x01",
    "string reference": b"\xd9\x01\x00\x81\xd8\x19\x00",
    "shared list": b"\xd8\x1c\x81\xd8\x1d\x00",
    "pattern": b"\xd8\x23\x64(a+)",
    "set": b"\xd9\x01\x02\x81\x01",
    "own encoding": b"\xd9\xd9\xf7\x61x",
    "unknown": b"\xd9\xff\xff\x01",
}


@pytest.mark.parametrize("name", TAGGED)
def test_tags_are_refused(name):
    with pytest.raises(BadRequestError):
        cbor.read(within(TAGGED[name]))


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"\xf6",
        b"\x80",
        b"\xa0",
        b"\xa1\x66restms\x80",
        b"\xa1\x66restms\xa0\x00",
        b"\xa2\x66restms\xa0\x66restms\xa0",
        b"\xa1\x66restms",
        b"\xa1\x66restms\xa1\x01\x61x",
        b"\xa1\x66restms\xa1\x44feed\x61x",
        b"\xa1\x66restms\xa1\x80\x61x",
        within(b"\xff"),
        within(b"\xf7"),
        within(b"\xf8\xff"),
        within(b"\xf9\x7e\x00"),
        within(b"\xf9\x7c\x00"),
        within(b"\x1c"),
        within(b"\x62\xff\xff"),
        within(b"\x63\xed\xa0\x80"),
        within(b"\x7f\x41a\xff"),
        within(b"\x9b" + b"\xff" * 8),
        within(b"\x9a\x7f\xff\xff\xff"),
        within(b"\xbb" + b"\xff" * 8),
        within(b"\x5b" + b"\xff" * 8),
        within(b"\x7b" + b"\x7f" * 8),
        within(b"\x81" * 100_000 + b"\x00"),
        within(b"\xa1\x61a" * 100_000 + b"\x00"),
        within(b"\xa1\x61a" * 31 + b"\xa0"),
        within(b"\x9f" * 100_000),
        within(b"\xc6" * 100_000 + b"\x00"),
    ],
)
def test_what_cannot_be_read_is_a_bad_request(document):
    with pytest.raises(BadRequestError):
        cbor.read(document)


def test_a_shared_list_cannot_multiply():
    """Twenty levels of "the list before, twice" would be a million elements."""
    levels: list[object] = [{}]
    for _ in range(20):
        levels = [levels, levels]
    document = cbor2.dumps({"restms": {"message": levels}}, value_sharing=True)
    assert len(document) < 300
    before = time.process_time()
    with pytest.raises(BadRequestError):
        cbor.read(document)
    assert time.process_time() - before < 1
