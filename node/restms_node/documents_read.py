"""What clients post: from the tree of a representation to drafts of the broker's nouns.

Everything that a client wrote is checked against the limits; what is not
known is dropped (2/RestMS). BadRequestError, or TooLargeError for too many or
too large, each with one sentence.
"""

import binascii
from collections.abc import Mapping
from dataclasses import dataclass

from restms_cluster.errors import BadRequestError, TooLargeError
from restms_cluster.model import PROPERTIES, Embedded, Header, Limits
from restms_cluster.names import check_text
from restms_cluster.terms import DELAYS, PLAIN, Terms, read_terms, read_window
from restms_node.negotiation import mime_type
from restms_node.trees import Element, Tree

_PROPERTIES = frozenset(PROPERTIES)
TERMS = frozenset((*DELAYS, "expiration", "priority"))
"""The attributes of a message that ask for more than to be routed and carried."""

_TEXT = "text/plain"
_OCTETS = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class FeedDraft:
    """A feed that a client asks for; an empty name asks for a private one.

    `dead_letter` is a feed's URI as it was given, `dedup` a number of seconds.
    """

    name: str
    type: str
    title: str
    license: str
    dead_letter: str = ""
    dedup: str = ""


@dataclass(frozen=True, slots=True)
class PipeDraft:
    """A pipe that a client asks for."""

    type: str
    title: str


@dataclass(frozen=True, slots=True)
class JoinDraft:
    """A join that a client asks for; `feed` is the feed's URI as it was given."""

    type: str
    address: str
    feed: str
    headers: tuple[Header, ...]


@dataclass(frozen=True, slots=True)
class MessageDraft:
    """A message that a client publishes; a content that is a `str` is a staged one's URI."""

    properties: Mapping[str, str]
    headers: tuple[Header, ...]
    contents: tuple[Embedded | str, ...]
    terms: Terms


@dataclass(frozen=True, slots=True)
class FeedChange:
    """What a PUT says about a feed; None is what it does not mention."""

    title: str | None
    license: str | None
    name: str | None
    type: str | None
    dead_letter: str | None = None
    dedup: str | None = None


@dataclass(frozen=True, slots=True)
class PipeChange:
    """What a PUT says about a pipe; None is what it does not mention."""

    title: str | None
    type: str | None


def domain_post(tree: Tree, limits: Limits) -> FeedDraft | PipeDraft:
    """Return the one feed, or the one pipe, that is posted to a domain."""
    feeds, pipes = _children(tree, "feed"), _children(tree, "pipe")
    if len(feeds) + len(pipes) != 1:
        raise BadRequestError("The document must have exactly one feed or one pipe.")
    if pipes:
        pipe = pipe_change(tree, limits)
        return PipeDraft(pipe.type or "", pipe.title or "")
    feed = feed_change(tree, limits)
    return FeedDraft(
        feed.name or "",
        feed.type or "",
        feed.title or "",
        feed.license or "",
        feed.dead_letter or "",
        feed.dedup or "",
    )


def feed_change(tree: Tree, limits: Limits) -> FeedChange:
    """Return what a document with one feed says about it."""
    feed = _only(tree, "feed")
    return FeedChange(
        title=_attribute(feed, "title", limits.text_length, "A title"),
        license=_attribute(feed, "license", limits.text_length, "A license"),
        name=_attribute(feed, "name", limits.name_length, "A feed's name") or None,
        type=_attribute(feed, "type", limits.text_length, "A feed's type"),
        dead_letter=_attribute(feed, "dead_letter", limits.text_length, "A feed's dead_letter"),
        dedup=read_window(_attribute(feed, "dedup", limits.text_length, "A feed's dedup")),
    )


def pipe_change(tree: Tree, limits: Limits) -> PipeChange:
    """Return what a document with one pipe says about it."""
    pipe = _only(tree, "pipe")
    return PipeChange(
        title=_attribute(pipe, "title", limits.text_length, "A title"),
        type=_attribute(pipe, "type", limits.text_length, "A pipe's type"),
    )


def join_post(tree: Tree, limits: Limits) -> JoinDraft:
    """Return the one join that is posted to a pipe."""
    join = _only(tree, "join")
    feed = _attribute(join, "feed", limits.text_length, "A join's feed")
    if not feed:
        raise BadRequestError("A join must have the URI of a feed in its attribute feed.")
    return JoinDraft(
        _attribute(join, "type", limits.text_length, "A join's type") or "",
        _attribute(join, "address", limits.address_length, "A join's address") or "",
        feed,
        _join_headers(join, limits),
    )


def message_post(tree: Tree, limits: Limits) -> tuple[MessageDraft, ...]:
    """Return the messages, one or many, that are posted to a feed."""
    messages = _children(tree, "message")
    if not messages:
        raise BadRequestError("The document has no message.")
    if len(messages) > limits.messages_per_request:
        raise TooLargeError(f"A request has at most {limits.messages_per_request} messages.")
    return tuple([message_item(message, limits) for message in messages])


def message_item(element: Element, limits: Limits) -> MessageDraft:
    """Return the message that one element is."""
    properties = {}
    for name, value in element.items():
        if name not in _PROPERTIES:
            continue
        longest = limits.address_length if name == "address" else limits.text_length
        text = _checked(name, value, longest, f"A message's {name}")
        if text:
            properties[name] = text
    contents = _children(element, "content")
    if len(contents) > limits.contents_per_message:
        raise TooLargeError(f"A message has at most {limits.contents_per_message} contents.")
    return MessageDraft(
        properties,
        _headers(element, limits) if "header" in element else (),
        tuple([_content(content, limits) for content in contents]),
        PLAIN if TERMS.isdisjoint(element) else read_terms(element),
    )


def _only(tree: Tree, name: str) -> Element:
    elements = _children(tree, name)
    if len(elements) != 1:
        raise BadRequestError(f"The document must have exactly one {name}.")
    return elements[0]


def _children(element: Element, name: str) -> list[Element]:
    children = element.get(name)
    if children is None:
        return []
    if type(children) is not list or not all(type(child) is dict for child in children):
        raise BadRequestError(f"In the document, {name} is not an element or a list of them.")
    return children


def _attribute(element: Element, name: str, longest: int, what: str) -> str | None:
    value = element.get(name)
    return None if value is None else _checked(name, value, longest, what)


def _checked(name: str, value: object, longest: int, what: str) -> str:
    if type(value) is not str:
        raise BadRequestError(f"In the document, {name} is not text.")
    # Nearly all are short ASCII, for which these two say the same as check_text.
    if len(value) <= longest and value.isascii() and value.isprintable():
        return value
    return check_text(what, value, longest)


def _headers(element: Element, limits: Limits) -> tuple[Header, ...]:
    elements = _children(element, "header")
    if len(elements) > limits.headers_per_message:
        raise TooLargeError(
            f"A message or a join has at most {limits.headers_per_message} headers."
        )
    headers = []
    for header in elements:
        name = _attribute(header, "name", limits.text_length, "A header's name")
        value = _attribute(header, "value", limits.text_length, "A header's value")
        if name:
            headers.append(Header(name, value or ""))
    return tuple(headers)


def _join_headers(join: Element, limits: Limits) -> tuple[Header, ...]:
    # To drop one, as a message's, would make the join want more than was meant.
    if any(not header.get("name") for header in _children(join, "header")):
        raise BadRequestError("A join's header must have a name.")
    return _headers(join, limits)


def _content(element: Element, limits: Limits) -> Embedded | str:
    href = _attribute(element, "href", limits.text_length, "A content's href")
    if href:
        return href
    value = _decoded(element)
    size = len(value.encode()) if isinstance(value, str) and not value.isascii() else len(value)
    if size > limits.content_bytes:
        raise TooLargeError(f"A content has at most {limits.content_bytes} bytes.")
    kind = element.get("type")
    if kind is None or kind == "":
        return Embedded(_TEXT if isinstance(value, str) else _OCTETS, value)
    if type(kind) is not str:
        raise BadRequestError("In the document, type is not text.")
    return Embedded(mime_type(kind), value)


def _decoded(element: Element) -> str | bytes:
    value = element.get("value", "")
    if type(value) is not str and type(value) is not bytes:
        raise BadRequestError("In the document, a content's value is not text or bytes.")
    encoding = element.get("encoding", "plain")
    if encoding == "plain":
        return value
    if encoding != "base64":
        raise BadRequestError("A content's encoding is plain or base64.")
    if isinstance(value, bytes):
        raise BadRequestError("A content that is a byte string has no encoding.")
    try:
        return binascii.a2b_base64("".join(value.split()), strict_mode=True)
    except ValueError:
        raise BadRequestError("A content is not well-formed base64.") from None
