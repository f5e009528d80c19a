"""The media types in which documents are read and written.

Another one is a module with read() and write(), and a line in REPRESENTATIONS.
"""

from collections.abc import Callable
from dataclasses import dataclass

from restms_node import documents_cbor, documents_json, documents_xml
from restms_node.trees import Tree

__all__ = ["REPRESENTATIONS", "Representation", "Tree", "find"]


@dataclass(frozen=True, slots=True)
class Representation:
    """A media type, the letter it has in ETags, and how its documents are read and written.

    `read` raises BadRequestError for what it cannot read.
    """

    media_type: str
    suffix: str
    read: Callable[[bytes], Tree]
    write: Callable[[Tree], bytes]


REPRESENTATIONS = (
    Representation("text/xml", "t", documents_xml.read, documents_xml.write),
    Representation("application/restms+xml", "x", documents_xml.read, documents_xml.write),
    Representation("application/restms+json", "j", documents_json.read, documents_json.write),
    Representation("application/restms+cbor", "c", documents_cbor.read, documents_cbor.write),
)
"""In the order of preference. The first is what a client gets that does not say."""

_BY_MEDIA_TYPE = {known.media_type: known for known in REPRESENTATIONS}


def find(media_type: str) -> Representation | None:
    """Return the representation of a media type (lower case, no parameters), or None."""
    return _BY_MEDIA_TYPE.get(media_type)
