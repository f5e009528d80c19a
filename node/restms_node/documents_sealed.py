"""Messages that come in the form in which they are stored, and need not be written anew.

That form is a message's element in a CBOR document. Where a publisher sends
just that, with nothing that asks for more than routing, its bytes are kept as
they came. Whatever is not so plain goes the long way, by a tree and a draft.
"""

from functools import lru_cache
from io import BytesIO

import cbor2

from restms_cluster.errors import BadRequestError
from restms_cluster.model import PROPERTIES, Limits, Sealed
from restms_node import documents_cbor
from restms_node.documents_read import TERMS, MessageDraft, message_item, message_post
from restms_node.negotiation import mime_type
from restms_node.trees import ROOT, normalised

_HEAD = b"\xa1" + cbor2.dumps(ROOT) + b"\xa1" + cbor2.dumps("message")
CARRIED = frozenset(PROPERTIES) - TERMS
"""Properties that routing need not know of."""

UNSIGNED = CARRIED - {"user_id"}

_SMALL_ARRAYS = range(0x80, 0x98)
_LENGTHS = {0x98: 1, 0x99: 2}  # how many bytes the length of a longer array has
_SMALL_MAPS = range(0xA1, 0xB8)


def read_messages(
    data: bytes, limits: Limits, sealed: frozenset[str] = CARRIED
) -> tuple[MessageDraft | Sealed, ...]:
    """Return the messages of a CBOR document.

    Of those with other properties than `sealed` the bytes are not kept. Raises
    BadRequestError, or TooLargeError for too many or too large.
    """
    start, count = _array(data)
    if not 0 < count <= limits.messages_per_request:
        return message_post(documents_cbor.read(data), limits)
    source = BytesIO(data)
    source.seek(start)
    items = documents_cbor.decoder(source)
    messages: list[MessageDraft | Sealed] = []
    for _ in range(count):
        try:
            element = items.decode()
        except cbor2.CBORDecodeError:
            raise BadRequestError(documents_cbor.UNREADABLE) from None
        end = source.tell()
        messages.append(read_message(element, data[start:end], limits, sealed))
        start = end
    if start != len(data):
        raise BadRequestError(documents_cbor.LONGER)
    return tuple(messages)


def read_message(
    element: object, blob: bytes, limits: Limits, sealed: frozenset[str] = CARRIED
) -> MessageDraft | Sealed:
    """Return the message that was decoded from that blob; raises as read_messages does."""
    # Of a message without an address all are told that it is empty.
    if type(element) is dict and blob[0] in _SMALL_MAPS and "address" in element:
        for name, value in element.items():
            if name == "content":
                if not _embedded(value, limits):
                    break
            elif name not in sealed or not _is_plain(value, name, limits):
                break
        else:
            return Sealed(element["address"], element.get("message_id", ""), blob)
    if not isinstance(element, dict):
        raise BadRequestError("In the document, message is not an element or a list of them.")
    return message_item(normalised(element), limits)


def _array(data: bytes) -> tuple[int, int]:
    """Return where the messages start, and how many there are; none where that is not plain."""
    start = len(_HEAD)
    if not data.startswith(_HEAD) or len(data) < start + 3:
        return 0, 0
    first = data[start]
    if first in _SMALL_ARRAYS:
        return start + 1, first - _SMALL_ARRAYS[0]
    size = _LENGTHS.get(first, 0)
    return start + 1 + size, int.from_bytes(data[start + 1 : start + 1 + size])


def _is_plain(value: object, name: str, limits: Limits) -> bool:
    longest = limits.address_length if name == "address" else limits.text_length
    return (
        type(value) is str and 0 < len(value) <= longest and value.isascii() and value.isprintable()
    )


def _embedded(contents: object, limits: Limits) -> bool:
    """Tell whether these are contents as they are stored within a message."""
    if type(contents) is not list or not 0 < len(contents) <= limits.contents_per_message:
        return False
    for content in contents:
        if type(content) is not dict or len(content) not in (2, 3):
            return False
        value, kind = content.get("value"), content.get("type")
        if type(kind) is not str or not _is_stored(kind):
            return False
        if type(value) is str:
            # A text is UTF-8, at most four bytes a character.
            size = len(value) if value.isascii() else 4 * len(value)
            if len(content) == 3 and content.get("encoding") != "plain":
                return False
        elif type(value) is bytes and len(content) == 2:
            size = len(value)
        else:
            return False
        if size > limits.embed_bytes or size > limits.content_bytes:
            return False
    return True


@lru_cache(maxsize=1024)
def _is_stored(kind: str) -> bool:
    """Tell whether a content of this MIME type is stored with it as it is written."""
    try:
        return mime_type(kind) == kind
    except BadRequestError:
        return False
