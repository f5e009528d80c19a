"""Streams: whatever messages say, their frames can be told apart again."""

from collections.abc import Callable
from email import message_from_bytes
from email.policy import HTTP

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restms_cluster import blobs
from restms_cluster.model import PROPERTIES, Draft, Embedded, Header, Message
from restms_cluster.names import Token, is_plain
from restms_node.deliveries import Deliveries
from restms_node.framings import FRAMINGS, Framing
from restms_node.representations import REPRESENTATIONS
from restms_node.uris import Uris
from tests.conformance.documents import data_of
from tests.conformance.streaming import reader

PIPE = Token.parse("p" + "0" * 32)
URIS = Uris("http://127.0.0.1:8080")
TEXTS = st.text(max_size=20).filter(is_plain)
AWKWARD = st.sampled_from(["\n\n", "\r\n\r\ndata: x", "id: 1\n", "--", "\u2028", "\0", "]]>", ":"])
CONTENTS = st.builds(
    Embedded, st.sampled_from(["text/plain", "a/b"]), st.text() | AWKWARD | st.binary()
)
DRAFTS = st.builds(
    Draft,
    st.dictionaries(st.sampled_from(PROPERTIES), TEXTS.filter(bool), max_size=3),
    st.lists(st.builds(Header, TEXTS, TEXTS), max_size=2).map(tuple),
    st.lists(CONTENTS, max_size=3).map(tuple),
)


def framing_of(media_type: str, representation: int = 0) -> Framing:
    return FRAMINGS[media_type](Deliveries(URIS, PIPE), REPRESENTATIONS[representation])


def stored(_: int, draft: Draft) -> bytes | Message:
    return blobs.pack(draft)


def told(number: int, draft: Draft) -> bytes | Message:
    token = PIPE.message(number)
    return Message(token, 1, draft.properties, draft.headers, draft.contents)


def framed(
    framing: Framing, drafts: list[Draft], form: Callable[[int, Draft], bytes | Message] = stored
) -> list[bytes]:
    """Write messages as a stream does, with a heartbeat after each."""
    pieces = [framing.start]
    for number, draft in enumerate(drafts, start=1):
        pieces += [framing.frame((b"%d" % number, form(number, draft))), framing.beat]
    return [*pieces, framing.end]


def said(draft: Draft) -> tuple[object, ...]:
    properties = {name: value for name, value in draft.properties.items() if value}
    headers = [{"name": header.name, "value": header.value} for header in draft.headers]
    return {"address": "", **properties}, headers, [content.data for content in draft.contents]


def read(element: dict[str, object]) -> tuple[object, ...]:
    headers = element.pop("header", [])
    contents = [data_of(content) for content in element.pop("content", [])]
    del element["href"]
    return element, headers, contents


@pytest.mark.parametrize(
    ("media_type", "representation"),
    [
        ("text/event-stream", 0),
        ("application/cbor-seq", 0),
        *[("multipart/mixed", number) for number in range(len(REPRESENTATIONS))],
    ],
)
@given(st.lists(DRAFTS, max_size=5), st.integers(1, 50), st.sampled_from([stored, told]))
def test_a_stream_is_read_back_as_it_was(media_type, representation, drafts, size, form):
    framing = framing_of(media_type, representation)
    body = b"".join(framed(framing, drafts, form))
    pieces = (body[at : at + size] for at in range(0, len(body), size))
    items = list(reader(framing.content_type)(pieces))
    if media_type == "multipart/mixed":  # it begins with a heartbeat
        assert items.pop(0) is None
    assert items[1::2] == [None] * len(drafts)
    assert [read(item) for item in items[::2]] == [said(draft) for draft in drafts]


@given(st.lists(DRAFTS, max_size=3))
def test_a_multipart_stream_is_one_for_other_readers(drafts):
    """Python's own e-mail parser knows nothing of the lengths that we give."""
    framing = framing_of("multipart/mixed", 2)
    head = f"Content-Type: {framing.content_type}\r\n\r\n".encode()
    body = message_from_bytes(head + b"".join(framed(framing, drafts)), policy=HTTP)
    assert not body.defects
    parts = list(body.iter_parts())
    located = [part for part in parts if part["Content-Location"]]
    assert [part["Content-Type"] for part in located] == [REPRESENTATIONS[2].media_type] * len(
        drafts
    )
    assert len(parts) == 1 + 2 * len(drafts)


def test_each_multipart_stream_has_its_own_boundary():
    assert framing_of("multipart/mixed").end != b""
    types = {framing_of("multipart/mixed").content_type for _ in range(10)}
    assert len(types) == 10


@given(DRAFTS)
def test_a_sequence_passes_stored_messages_through(draft):
    framing = framing_of("application/cbor-seq")
    blob = blobs.pack(draft)
    item = framing.frame((b"7", blob))
    assert cbor2.loads(item) == {"href": URIS.resource(PIPE.message(7)), **cbor2.loads(blob)}
    assert item.endswith(blob[1:])


@given(DRAFTS)
def test_a_stored_message_is_described_as_what_it_says(draft):
    deliveries = Deliveries(URIS, PIPE)
    assert deliveries.element((b"7", stored(7, draft))) == deliveries.element(
        (b"7", told(7, draft))
    )
