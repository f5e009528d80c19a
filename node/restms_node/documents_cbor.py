"""Documents in CBOR (RFC 8949): the JSON tree, with byte strings where a content is binary.

A message's stored form is its element in such a document, so a reader of
CBOR gets it without decoding: wrap_message() puts the document around it.
"""

from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Never

import cbor2

from restms_cluster.errors import BadRequestError
from restms_node.trees import MAX_DEPTH, ROOT, Element, Tree, rooted, with_contents

_MAP_OF_ONE = b"\xa1"
_ARRAY_OF_ONE = b"\x81"
_DOCUMENT = _MAP_OF_ONE + cbor2.dumps(ROOT) + _MAP_OF_ONE + cbor2.dumps("message") + _ARRAY_OF_ONE


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
    source = BytesIO(data)
    try:
        document = decoder(source).decode()
    except cbor2.CBORDecodeError:
        raise BadRequestError("The document is not CBOR, or has a tag or nests too deep.") from None
    if source.tell() != len(data):
        raise BadRequestError("The document has bytes after its end.")
    return rooted(document)


def write(tree: Tree) -> bytes:
    """Return a tree as a document."""
    return cbor2.dumps({ROOT: with_contents(tree, _content)})


def wrap_message(blob: bytes) -> bytes:
    """Return the document of one message in its stored form."""
    return _DOCUMENT + blob


def _content(content: Element) -> Element:
    return {**content, "encoding": "plain"} if isinstance(content.get("value"), str) else content
