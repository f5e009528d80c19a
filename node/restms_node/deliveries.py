"""Messages among others, as readers in volume get them: each has its URI with it, as `href`."""

from collections.abc import Sequence

from restms_cluster.inbox import Delivered
from restms_cluster.names import Token
from restms_node import documents, documents_cbor
from restms_node.documents_cbor import Linked
from restms_node.representations import Representation
from restms_node.trees import Element, Tree
from restms_node.uris import Uris


class Deliveries:
    """Writes the messages of one pipe."""

    def __init__(self, uris: Uris, pipe: Token) -> None:
        self._uris = uris
        self._prefix = f"{uris.resource(pipe)}-"
        self._linked = Linked(self._prefix)

    def href(self, one: Delivered) -> str:
        """Return a message's URI."""
        return self._prefix + one[0].decode()

    def element(self, one: Delivered) -> Element:
        """Return a message's element."""
        _, message = one
        if isinstance(message, bytes):
            stored = documents_cbor.stored_message(message)
            return {"href": self.href(one), **documents.stored_element(stored)}
        return documents.delivered_element(message, self._uris)

    def tree(self, *found: Delivered) -> Tree:
        """Return the tree of messages."""
        return {"message": [self.element(one) for one in found]}

    def item(self, one: Delivered) -> bytes:
        """Return the CBOR of a message's element; its stored form is that, but for the href."""
        number, message = one
        if isinstance(message, bytes):
            return self._linked.item(number, message)
        return documents_cbor.write_message(self.element(one))

    def document(self, representation: Representation, found: Sequence[Delivered]) -> bytes:
        """Return the document of messages."""
        if representation.read is documents_cbor.read:
            return documents_cbor.wrap_messages([self.item(one) for one in found])
        return representation.write(self.tree(*found))
