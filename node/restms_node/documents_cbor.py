"""Documents in CBOR (RFC 8949): the JSON tree, with byte strings where a content is binary.

A message's stored form is its element in such a document, so a reader of
CBOR gets it without decoding: wrap_message() puts the document around it.
"""

from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from typing import Never

import cbor2

from restms_cluster.errors import BadRequestError
from restms_node.trees import MAX_DEPTH, ROOT, Element, Tree, rooted, with_contents

UNREADABLE = "The document is not CBOR, or has a tag or nests too deep."
LONGER = "The document has bytes after its end."

_MAP_OF_ONE = b"\xa1"
_ARRAY_OF_ONE = b"\x81"
_MESSAGES = _MAP_OF_ONE + cbor2.dumps(ROOT) + _MAP_OF_ONE + cbor2.dumps("message")
_DOCUMENT = _MESSAGES + _ARRAY_OF_ONE
# A map of so many pairs has a head of one byte: a message's element has 14 at most.
_ONE_PAIR_MORE = {0xA0 + pairs: bytes((0xA1 + pairs,)) for pairs in range(23)}
_HREF = cbor2.dumps("href")
_DIGITS = 17  # more than a message's number can have


class _NoTags(Mapping[int, Never]):
    """In place of the decoder's handlers of tags: refuses each before its value is decoded.

    The decoder would make dates, patterns, huge numbers and shared references
    of them: nothing a document needs, and some are small bytes for much work.
    """

    def __getitem__(self, tag: int) -> Never:
        raise ValueError(tag)

    def __iter__(self) -> Iterator[int]:
        return iter(())

    def __len__(self) -> int:
        return 1  # an empty mapping would be taken for none


_NO_TAGS = _NoTags()


def decoder(source: BytesIO) -> cbor2.CBORDecoder:
    """Return a decoder of what clients sent; it raises CBORDecodeError for what is refused."""
    return cbor2.CBORDecoder(
        source,
        max_depth=MAX_DEPTH,
        allow_duplicate_keys=False,
        strict_hashable_types=True,
        semantic_decoders=_NO_TAGS,
    )


def read(data: bytes) -> Tree:
    """Return the tree of a document; BadRequestError if it cannot be read.

    Tags, numbers that are not finite, names twice and bytes after the end are
    refused.
    """
    return rooted(decode(data))


def decode(data: bytes) -> object:
    """Return what CBOR says; BadRequestError as `read` raises it."""
    source = BytesIO(data)
    try:
        document: object = decoder(source).decode()
    except cbor2.CBORDecodeError:
        raise BadRequestError(UNREADABLE) from None
    if source.tell() != len(data):
        raise BadRequestError(LONGER)
    return document


def write(tree: Tree) -> bytes:
    """Return a tree as a document."""
    return encode({ROOT: with_contents(tree, _content)})


def encode(document: object) -> bytes:
    """Return CBOR."""
    return cbor2.dumps(document)


def wrap_message(blob: bytes) -> bytes:
    """Return the document of one message in its stored form."""
    return _DOCUMENT + blob


def wrap_messages(items: Sequence[bytes]) -> bytes:
    """Return the document of messages, each the CBOR of its element."""
    return b"".join((_MESSAGES, _head(0x80, len(items)), *items))


def stored_message(blob: bytes) -> Element:
    """Return the element that a message's stored form is."""
    element: Element = cbor2.loads(blob)
    return element


def write_message(element: Element) -> bytes:
    """Return a message's element, as it stands in a document."""
    tree = with_contents({"message": [element]}, _content)
    return encode(tree["message"][0])


class Linked:
    """Gives messages in their stored form an href: their pipe's URI, `-` and their number."""

    def __init__(self, prefix: str) -> None:
        """`prefix` is what all of the URIs start with."""
        text = prefix.encode()
        # By the number of digits: key, head of the text, beginning of the text.
        self._links = [_HREF + _head(0x60, len(text) + digits) + text for digits in range(_DIGITS)]

    def item(self, number: bytes, blob: bytes) -> bytes:
        """Return a message with its href; `number` is in digits."""
        return b"".join((_ONE_PAIR_MORE[blob[0]], self._links[len(number)], number, blob[1:]))


def _head(kind: int, length: int) -> bytes:
    """Return the head of a text (0x60) or a list (0x80) of that length."""
    if length < 24:
        return bytes((kind + length,))
    size = 1 if length < 1 << 8 else 2 if length < 1 << 16 else 4
    return bytes((kind + 23 + size.bit_length(),)) + length.to_bytes(size, "big")


def _content(content: Element) -> Element:
    return {**content, "encoding": "plain"} if isinstance(content.get("value"), str) else content
