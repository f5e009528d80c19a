"""Documents in JSON: `{"restms": tree}`, in UTF-8 (RFC 8259)."""

import base64
import json
from typing import Any

from restms_cluster.errors import BadRequestError
from restms_node.trees import ROOT, Element, Tree, rooted, with_contents


def read(data: bytes) -> Tree:
    """Return the tree of a document; BadRequestError if it cannot be read."""
    return rooted(decode(data))


def decode(data: bytes) -> object:
    """Return what JSON says; BadRequestError where it is none, or has a name twice."""
    try:
        return json.loads(
            data.decode("utf-8-sig"), object_pairs_hook=_object, parse_constant=_constant
        )
    except RecursionError:
        raise BadRequestError("The document nests too deep.") from None
    except ValueError:  # not UTF-8, not JSON, or an integer of many thousand digits
        raise BadRequestError("The document is not JSON in UTF-8.") from None


def write(tree: Tree) -> bytes:
    """Return a tree as a document."""
    return encode({ROOT: with_contents(tree, _content)})


def write_message(element: Element) -> bytes:
    """Return a message's element, as it stands in a document."""
    tree = with_contents({"message": [element]}, _content)
    return encode(tree["message"][0])


def encode(document: object) -> bytes:
    """Return JSON in one line."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Of two members with one name the parser would silently drop the first.
    made = dict(pairs)
    if len(made) != len(pairs):
        raise BadRequestError("The document has an object with a name twice.")
    return made


def _constant(name: str) -> None:
    raise BadRequestError(f"The document has {name}, which is not a JSON number.")


def _content(content: Element) -> Element:
    value = content.get("value")
    if isinstance(value, bytes):
        return {**content, "encoding": "base64", "value": base64.b64encode(value).decode()}
    if value is not None:
        return {**content, "encoding": "plain"}
    return content
