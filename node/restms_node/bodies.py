"""What a request carries: a document, or a body that is read as it comes."""

from collections.abc import AsyncIterator

import trio

from restms_cluster import uploads
from restms_cluster.errors import BadRequestError, UnsupportedTypeError
from restms_cluster.model import Limits, Sealed
from restms_node import documents, documents_cbor, documents_sealed
from restms_node.documents import MessageDraft
from restms_node.exchange import Request
from restms_node.gate import left
from restms_node.negotiation import content_representation
from restms_node.node import Node
from restms_node.representations import REPRESENTATIONS, Representation, Tree


def posted(request: Request) -> Tree:
    """Return the document posted to create or change a resource.

    Raises UnsupportedTypeError for a type that is no document,
    BadRequestError for a document that cannot be read. Without a
    Content-Type it is taken for the default one, as an Accept would be.
    """
    return _representation(request).read(request.body)


def posted_messages(
    request: Request, limits: Limits, sealed: frozenset[str] = documents_sealed.CARRIED
) -> tuple[MessageDraft | Sealed, ...]:
    """Return the messages posted to a feed. Raises as `posted`, and TooLargeError for too many.

    `sealed` are the properties of those whose bytes may be kept as they came.
    """
    representation = _representation(request)
    if representation.read is documents_cbor.read:
        return documents_sealed.read_messages(request.body, limits, sealed)
    return documents.message_post(representation.read(request.body), limits)


def pieces(node: Node, request: Request) -> AsyncIterator[bytes]:
    """Return a request's body as it comes; LapsedError when the client's credentials end."""
    stream = request.stream or uploads.whole(request.body)
    return stream if node.gate is None else _WhileGood(node, request, stream)


class _WhileGood:
    """The pieces of a body, for as long as the credentials are good that it came with."""

    def __init__(self, node: Node, request: Request, stream: AsyncIterator[bytes]) -> None:
        self._node = node
        self._request = request
        self._stream = stream

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        with trio.move_on_after(left(self._request.principal)):
            piece = await anext(self._stream)
            await self._node.check(self._request)
            return piece
        raise self._node.lapsed()


def _representation(request: Request) -> Representation:
    content_type = request.header("content-type")
    if content_type is None:
        representation = REPRESENTATIONS[0]
    else:
        found = content_representation(content_type)
        if found is None:
            known = ", ".join(each.media_type for each in REPRESENTATIONS)
            raise UnsupportedTypeError(f"The server reads documents in {known} only.")
        representation = found
    if not request.body:
        raise BadRequestError("The request has no document.")
    return representation
