"""The document that a request carries."""

from restms_cluster.errors import BadRequestError, UnsupportedTypeError
from restms_cluster.model import Limits, Sealed
from restms_node import documents, documents_cbor, documents_sealed
from restms_node.documents import MessageDraft
from restms_node.exchange import Request
from restms_node.negotiation import content_representation
from restms_node.representations import REPRESENTATIONS, Representation, Tree


def posted(request: Request) -> Tree:
    """Return the document posted to create or change a resource.

    Raises UnsupportedTypeError for a type that is no document,
    BadRequestError for a document that cannot be read. Without a
    Content-Type it is taken for the default one, as an Accept would be.
    """
    return _representation(request).read(request.body)


def posted_messages(request: Request, limits: Limits) -> tuple[MessageDraft | Sealed, ...]:
    """Return the messages posted to a feed. Raises as `posted`, and TooLargeError for too many."""
    representation = _representation(request)
    if representation.read is documents_cbor.read:
        return documents_sealed.read_messages(request.body, limits)
    return documents.message_post(representation.read(request.body), limits)


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
