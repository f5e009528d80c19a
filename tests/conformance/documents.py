"""RestMS documents as a client makes and reads them: XML, JSON and CBOR, all of the same tree.

The tree is what the JSON form shows: an element is a dict, its properties are
texts, its children are lists of dicts, its text is the key `value`.
"""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cbor2
from lxml import etree

Element = dict[str, Any]

NAMESPACE = "http://www.restms.org/schema/restms"


@dataclass(frozen=True)
class Format:
    """A way to write the tree of a document."""

    name: str
    media_type: str
    write: Callable[[Element], bytes]
    read: Callable[[bytes], Element]

    def __str__(self) -> str:
        return self.name


def write_xml(tree: Element, namespace: str | None = NAMESPACE) -> bytes:
    """Write a document as XML, in a namespace or in none."""
    root = etree.Element(
        _qualified("restms", namespace), nsmap={None: namespace} if namespace else None
    )
    _fill(root, tree["restms"], namespace)
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


def read_xml(data: bytes) -> Element:
    """Read an XML document; it must be in the namespace of RestMS."""
    root = etree.fromstring(data)
    assert root.tag == _qualified("restms", NAMESPACE)
    return {"restms": _element(root)}


def write_json(tree: Element) -> bytes:
    return json.dumps(tree).encode()


def write_cbor(tree: Element) -> bytes:
    return cbor2.dumps(tree)


XML = Format("xml", "application/restms+xml", write_xml, read_xml)
TEXT_XML = Format("text-xml", "text/xml", write_xml, read_xml)
JSON = Format("json", "application/restms+json", write_json, json.loads)
CBOR = Format("cbor", "application/restms+cbor", write_cbor, cbor2.loads)


def restms(**children: list[Element]) -> Element:
    """Make a document: `restms(feed=[{"name": "news"}])`."""
    return {"restms": children}


def message(address: str = "", *contents: Element, **properties: Any) -> Element:
    """Make a message; `header` may be given as pairs of name and value."""
    made: Element = {"address": address, **properties}
    if "header" in made:
        made["header"] = [{"name": name, "value": value} for name, value in made["header"]]
    if contents:
        made["content"] = list(contents)
    return made


def numbered(count: int, first: int = 1, **properties: Any) -> list[Element]:
    """Make messages whose `message_id` are numbers."""
    return [message(message_id=str(n), **properties) for n in range(first, first + count)]


def text(value: str, media_type: str = "text/plain") -> Element:
    """Make a content of plain text."""
    return {"type": media_type, "value": value}


def binary(value: bytes, media_type: str = "application/octet-stream") -> Element:
    """Make a content of any bytes, in base64."""
    return {"type": media_type, "encoding": "base64", "value": base64.b64encode(value).decode()}


def staged(href: str) -> Element:
    """Make a content that was staged ahead."""
    return {"href": href}


def data_of(content: Element) -> bytes:
    """Return the bytes of a content that came with its message."""
    value = content.get("value", "")
    if isinstance(value, bytes):
        return value
    return base64.b64decode(value) if content.get("encoding") == "base64" else value.encode()


def _qualified(name: str, namespace: str | None) -> str:
    return f"{{{namespace}}}{name}" if namespace else name


def _fill(element: etree._Element, properties: Element, namespace: str | None) -> None:
    for name, value in properties.items():
        if isinstance(value, list):
            for child in value:
                tag = _qualified(name, namespace)
                _fill(etree.SubElement(element, tag), child, namespace)
        elif name == "value" and etree.QName(element).localname != "header":
            element.text = value
        else:
            element.set(name, value)


def _element(element: etree._Element) -> Element:
    read: Element = dict(element.attrib)
    for child in element:
        read.setdefault(etree.QName(child).localname, []).append(_element(child))
    if etree.QName(element).localname == "content" and "href" not in read:
        read["value"] = element.text or ""
    return read
