"""Documents in XML 1.0: attributes are attributes, and a content's text is its text.

The parser is Expat. It keeps nothing between documents, whereas libxml2 (by
lxml) keeps every element's and attribute's name that it ever saw for the life
of the process, so that clients with new names could fill a node's memory.

Expat never loads anything, and entities are declared in a DTD only, so
refusing the DTD refuses them too.
"""

import base64
import re
from typing import Any
from xml.parsers import expat

from restms_cluster.errors import BadRequestError
from restms_cluster.names import is_plain
from restms_node.trees import MAX_DEPTH, NAMESPACE, ROOT, Element, Tree

# What each element may hold. Anything else in it means nothing and is passed over.
_CHILDREN: dict[str, tuple[str, ...]] = {
    ROOT: ("domain", "feed", "pipe", "join", "message"),
    "domain": ("profile", "feed"),
    "pipe": ("join", "message"),
    "join": ("header",),
    "message": ("header", "content"),
}

_SEPARATOR = "\n"  # between namespace and name, as Expat gives them
_PIECE = 64 * 1024
_NAMESPACE_LENGTH = 255  # Expat puts it before every name: a long one would be copied each time
_SPECIAL = re.compile('[&<>"\t\n\r]')


def read(data: bytes) -> Tree:
    """Return the tree of a document; BadRequestError if it cannot be read.

    Any namespace or none is accepted. Elements that mean nothing are dropped.
    """
    reader = _Reader()
    parser = expat.ParserCreate(namespace_separator=_SEPARATOR)
    parser.buffer_text = True
    if len(data) > parser.buffer_size:
        parser.buffer_size = _PIECE
    parser.StartDoctypeDeclHandler = _refuse_dtd
    parser.StartNamespaceDeclHandler = _check_namespace
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.characters
    try:
        parser.Parse(data, True)  # noqa: FBT003 - Expat's own interface
    except expat.ExpatError as error:
        raise BadRequestError(f"The document is not well-formed XML: {error}.") from None
    except (ValueError, LookupError):  # from the codec that the document names
        raise BadRequestError("The document's encoding is not one that can be read.") from None
    return reader.tree


def write(tree: Tree) -> bytes:
    """Return a tree as a document."""
    pieces = ['<?xml version="1.0" encoding="UTF-8"?>\n', f'<{ROOT} xmlns="{NAMESPACE}">\n']
    for name, elements in tree.items():
        for element in elements:
            _write(pieces, name, element, "  ")
    pieces.append(f"</{ROOT}>\n")
    return "".join(pieces).encode()


class _Reader:
    """Builds the tree out of what the parser reports."""

    __slots__ = ("children", "depth", "element", "outer", "text", "tree")

    def __init__(self) -> None:
        self.tree: Tree = {}
        self.element: Element = self.tree
        self.children: tuple[str, ...] = _CHILDREN[ROOT]
        self.outer: list[tuple[Element, tuple[str, ...]]] = []
        self.depth = 0  # of the element that the parser is in; the root's is 1
        self.text: list[str] | None = None  # a list while inside a content

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Begin an element, or pass over it if it means nothing here."""
        self.depth += 1
        name = name.rpartition(_SEPARATOR)[2]
        if self.depth == 1:
            if name != ROOT:
                raise BadRequestError('The root element of the document is not "restms".')
            return
        if self.depth > MAX_DEPTH:
            raise BadRequestError("The document nests too deep.")
        # Within an element that was passed over, `outer` is shorter than the depth.
        if name not in self.children or len(self.outer) != self.depth - 2:
            return
        self.outer.append((self.element, self.children))
        self.element.setdefault(name, []).append(attributes)
        self.element, self.children = attributes, _CHILDREN.get(name, ())
        for child in self.children:  # an attribute must not stand in a child's place
            attributes.pop(child, None)
        if name == "content":
            attributes.pop("value", None)
            self.text = []

    def end(self, _name: str) -> None:
        """Finish an element."""
        self.depth -= 1
        if self.depth == 0 or len(self.outer) != self.depth:
            return
        if self.text is not None:
            if self.text:
                self.element["value"] = "".join(self.text)
            self.text = None
        self.element, self.children = self.outer.pop()

    def characters(self, text: str) -> None:
        """Keep a content's own text."""
        if self.text is not None and len(self.outer) == self.depth - 1:
            self.text.append(text)


def _refuse_dtd(*_: Any) -> None:
    raise BadRequestError("The document has a DTD, which is not accepted.")


def _check_namespace(_prefix: str | None, uri: str | None) -> None:
    if uri is not None and len(uri) > _NAMESPACE_LENGTH:
        raise BadRequestError(f"A namespace has at most {_NAMESPACE_LENGTH} characters.")


def _write(pieces: list[str], name: str, element: Element, indent: str) -> None:
    head, children, text = f"{indent}<{name}", [], ""
    for key, value in (_content(element) if name == "content" else element).items():
        if isinstance(value, list):
            children += [(key, child) for child in value]
        elif key == "value" and name == "content":
            text = value
        else:
            head += f' {key}="{_attribute(value)}"'
    if children:
        pieces.append(f"{head}>\n")
        for key, child in children:
            _write(pieces, key, child, indent + "  ")
        pieces.append(f"{indent}</{name}>\n")
    elif text:
        pieces.append(f"{head}>{_text(text)}</{name}>\n")
    else:
        pieces.append(f"{head}/>\n")


def _content(content: Element) -> Element:
    value = content.get("value")
    if value is None:
        return content
    if isinstance(value, str):
        if is_plain(value):
            return {**content, "encoding": "plain"}
        value = value.encode()
    return {**content, "encoding": "base64", "value": base64.b64encode(value).decode()}


def _attribute(value: str) -> str:
    if _SPECIAL.search(value) is None:
        return value
    # A parser turns bare white space in an attribute into blanks.
    value = _text(value).replace('"', "&quot;")
    return value.replace("\t", "&#9;").replace("\n", "&#10;")


def _text(value: str) -> str:
    # A parser turns a bare carriage return into a newline.
    value = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return value.replace("\r", "&#13;")
