"""The tree that every representation reads and writes (2/RestMS, its JSON form).

A tree is what stands under the root `restms`: child names, each with a list
of elements. An element is a dict as well: a `str` is an attribute, a list
holds child elements, and `value` is the element's text: `str`, or `bytes`
where a content is binary. Which names mean something is for documents.py to
know; the rest of a tree is tolerated and never looked at.
"""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

from restms_cluster.errors import BadRequestError

Tree: TypeAlias = dict[str, Any]
Element: TypeAlias = dict[str, Any]

ROOT = "restms"
NAMESPACE = "http://www.restms.org/schema/restms"

MAX_DEPTH = 32
"""How deep a document may nest. The deepest that means something is a content, at 3."""


def rooted(document: object) -> Tree:
    """Return the normalised tree of a decoded JSON or CBOR document.

    Numbers become text, nulls go, a single element becomes a list of one.
    Raises BadRequestError for what no element can hold.
    """
    tree = document.get(ROOT) if isinstance(document, dict) else None
    if not isinstance(tree, dict):
        raise BadRequestError('The document is not an object with an object "restms" in it.')
    _normalise(tree, 1)
    return tree


def normalised(decoded: Element) -> Element:
    """Return a normalised element that stands by itself; BadRequestError as rooted()."""
    _normalise(decoded, 1)
    return decoded


def with_contents(tree: Tree, encode: Callable[[Element], Element]) -> Tree:
    """Return a tree with every content in place of which `encode` gives another."""
    if "message" not in tree:
        return tree
    messages = [
        {**message, "content": [encode(content) for content in message["content"]]}
        if "content" in message
        else message
        for message in tree["message"]
    ]
    return {**tree, "message": messages}


def _normalise(element: Element, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise BadRequestError("The document nests too deep.")
    absent = []
    for name, value in element.items():
        if type(name) is not str:
            raise BadRequestError("The document has a name that is not text.")
        kind = type(value)
        if kind is str:
            _check(value)
        elif kind is list:
            _normalise_all(value, depth + 1)
        elif kind is dict:
            _normalise(value, depth + 1)
            element[name] = [value]
        elif value is None:
            absent.append(name)
        elif kind is not bytes:
            element[name] = _text(value)
    for name in absent:
        del element[name]


def _normalise_all(children: list[Any], depth: int) -> None:
    for child in children:
        if type(child) is dict:
            _normalise(child, depth)


def _check(text: str) -> None:
    # JSON can write half of a surrogate pair, which no encoding can carry.
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise BadRequestError("The document has a text that is not Unicode.") from None


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, int):
        try:
            return str(value)
        except ValueError:  # Python writes no integers of many thousand digits
            raise BadRequestError("The document has a number that is too long.") from None
    if isinstance(value, float) and math.isfinite(value):
        text = repr(value)
        # 8.0 is the same number as 8: some languages write the one, some the other.
        return text.removesuffix(".0") if value else "0"
    raise BadRequestError("The document has a value that is neither text nor a number.")
