"""What is fuzzed within one process: a function of bytes for each kind of input.

Each one accepts its input, or refuses it as a client's fault (RestMSError with a status
below 500, and one sentence). Anything else that it raises is a finding; so is an AssertionError, of
two ways to say or to read the same that do not agree.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import trio

from restms_cluster import terms
from restms_cluster.errors import RestMSError
from restms_cluster.model import Embedded, Limits, Sealed
from restms_cluster.names import Token
from restms_node import (
    codings,
    conditions,
    documents,
    documents_cbor,
    documents_sealed,
    negotiation,
    queries,
    ranges,
    subprotocols,
)
from restms_node.config import Settings
from restms_node.documents import MessageDraft
from restms_node.front import is_authority
from restms_node.lane_requests import Heads
from restms_node.representations import REPRESENTATIONS, Representation, Tree
from restms_node.sequences import Messages, is_sequence
from restms_node.trees import normalised
from restms_node.uris import Uris

LIMITS = Limits()
URIS = Uris("http://a.example")
VERSION, SIZE = 1_767_225_600_000_000, 1000
PLACE = "/restms/resource/p0123456789abcdef0123456789abcdef"
HEADS = Heads(Settings())


@contextmanager
def refused_at_most() -> Iterator[None]:
    """Let pass what tells a client that its input is wrong."""
    try:
        yield
    except RestMSError as error:
        check_refusal(error)


def check_refusal(error: RestMSError) -> None:
    """A refusal is the client's fault, and says so in one sentence."""
    assert error.status < 500 or error.status == 501, error
    assert error.text.endswith("."), error.text
    assert "\n" not in error.text, error.text


def document(representation: Representation) -> Callable[[bytes], None]:
    """Return what reads a document, as whatever it may be."""

    def read(data: bytes) -> None:
        with refused_at_most():
            tree = representation.read(data)
            for meaning in (documents.domain_post, documents.feed_change, documents.pipe_change):
                with refused_at_most():
                    meaning(tree, LIMITS)
            with refused_at_most():
                documents.join_post(tree, LIMITS)
            drafts = documents.message_post(tree, LIMITS)
            said_in_every_way(drafts)

    return read


def said_in_every_way(drafts: tuple[MessageDraft, ...]) -> None:
    """Whatever one representation said of messages, each of them says and reads the same."""
    plain = [_plain(draft) for draft in drafts]
    tree: Tree = {"message": [_element(draft) for draft in drafts]}
    for representation in REPRESENTATIONS[1:]:
        again = documents.message_post(representation.read(representation.write(tree)), LIMITS)
        assert [_plain(draft) for draft in again] == plain, representation.media_type


def sealed(data: bytes) -> None:
    """The short way and the long one of messages in CBOR come to the same."""
    short, long = _outcome(documents_sealed.read_messages, data), _outcome(_long_way, data)
    assert (short is None) == (long is None), (short, long)
    if short is not None and long is not None:
        opened = [_opened(one) if isinstance(one, Sealed) else one for one in short]
        assert [_plain(one) for one in opened] == [_plain(one) for one in long]


def sequence(data: bytes) -> None:
    """A stream of messages is the same in whatever pieces it comes."""
    whole = _taken([data])
    middle = len(data) // 2
    assert _taken([data[:middle], data[middle:]]) == whole
    assert _taken([data[at : at + 1] for at in range(min(len(data), 300))] + [data[300:]]) == whole


def header(data: bytes) -> None:
    """Read a text as each header, URI, date, name and query that it might be."""
    text = data.decode("latin-1")
    for read in READERS:
        with refused_at_most():
            read(text)
    with refused_at_most():
        token = Token.parse(text)
        assert str(token) == text.removeprefix("default.")
    date = conditions.parse_date(text)
    if date is not None and date >= 0:
        assert conditions.parse_date(conditions.date_of(date)) == date
    try:
        part = ranges.requested(text, SIZE)
    except ranges.UnsatisfiableError:
        part = None
    if part is not None:
        assert 0 <= part[0] <= part[1] < SIZE
    for weight in negotiation.weights(text).values():
        assert 0 <= weight < 10


def coding(data: bytes) -> None:
    """Decode a body in each coding; what comes out is bounded."""
    for known in codings.CODINGS.values():
        with refused_at_most():
            made = trio.run(codings.decoded_whole, data, known, 1024 * 1024)
            assert len(made) <= 1024 * 1024


def head(data: bytes) -> None:
    """Read the head of a request, as the lane does."""
    with refused_at_most():
        HEADS.may_begin(data)
    end = data.find(b"\r\n\r\n")
    if end >= 0:
        with refused_at_most():
            found = HEADS.read(data[: end + 4])
            if found is not None:
                assert "\n" not in "".join([found.path, found.query, *found.headers.values()])


def frame(data: bytes) -> None:
    """Read a frame of a WebSocket."""
    for subprotocol in subprotocols.SUBPROTOCOLS:
        with refused_at_most():
            subprotocol.acknowledged(data)


READERS: tuple[Callable[[str], object], ...] = (
    negotiation.choose,
    negotiation.content_representation,
    negotiation.media_type,
    negotiation.mime_type,
    negotiation.is_text,
    negotiation.parse_prefer,
    is_sequence,
    is_authority,
    lambda text: codings.of_body(text, ("zstd", "gzip")),
    lambda text: codings.preferred(text, ("zstd", "gzip"), worthwhile=True),
    lambda text: conditions.condition(text, text),
    lambda text: conditions.condition(None, text),
    lambda text: conditions.not_modified(VERSION, '"1-x"', text, None),
    lambda text: conditions.not_modified(VERSION, '"1-x"', None, text),
    lambda text: conditions.changed_since(VERSION, '"1-x"', text, None),
    lambda text: conditions.changed_since(VERSION, '"1-x"', None, text),
    lambda text: ranges.still(text, '"1-x"', VERSION),
    lambda text: queries.numbers(text, ("messages",)),
    terms.read_window,
    lambda text: terms.read_terms({"expiration": text}),
    lambda text: terms.read_terms({"priority": text}),
    lambda text: terms.read_terms({"deliver_at": text}),
    lambda text: terms.read_terms({"delay": text}),
    URIS.target,
    lambda text: URIS.reference(PLACE, text),
)

TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "xml": document(REPRESENTATIONS[0]),
    "json": document(REPRESENTATIONS[2]),
    "cbor": document(REPRESENTATIONS[3]),
    "sealed": sealed,
    "sequence": sequence,
    "headers": header,
    "codings": coding,
    "heads": head,
    "frames": frame,
}
"""By name; seeds.py has good inputs for each."""


def _long_way(data: bytes, limits: Limits) -> tuple[MessageDraft, ...]:
    return documents.message_post(documents_cbor.read(data), limits)


def _outcome(read: Callable[[bytes, Limits], tuple[object, ...]], data: bytes) -> object:
    try:
        return read(data, LIMITS)
    except RestMSError as error:
        check_refusal(error)
        return None


def _opened(one: Sealed) -> MessageDraft:
    return documents.message_item(normalised(documents_cbor.stored_message(one.blob)), LIMITS)


def _plain(draft: MessageDraft) -> MessageDraft:
    """Return a draft whose contents are bytes; when it is to be delivered is not written."""
    contents = tuple(
        replace(one, value=one.value.encode() if isinstance(one.value, str) else one.value)
        if isinstance(one, Embedded)
        else one
        for one in draft.contents
    )
    return replace(draft, contents=contents, terms=replace(draft.terms, delay=None, at=None))


def _element(draft: MessageDraft) -> dict[str, object]:
    element: dict[str, object] = {**draft.properties}
    element["header"] = [{"name": one.name, "value": one.value} for one in draft.headers]
    element["content"] = [
        {"href": one} if isinstance(one, str) else {"type": one.type, "value": one.value}
        for one in draft.contents
    ]
    return element


def _taken(pieces: list[bytes]) -> tuple[list[tuple[object, bytes]], str]:
    """Return the messages of a stream, and how it ended."""
    messages, found = Messages(LIMITS.document_bytes), []
    try:
        for piece in pieces:
            if piece:
                found += messages.take(piece)
        messages.end()
    except RestMSError as error:
        check_refusal(error)
        return [(repr(item), blob) for item, blob in found], type(error).__name__
    return [(repr(item), blob) for item, blob in found], ""
