"""Documents made to be dear, each as long as may be: to read or refuse one takes a moment.

Anything that is not linear would take minutes.
"""

import struct
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from restms_cluster.errors import BadRequestError
from restms_node import documents_cbor, documents_json, documents_xml

BYTES = 2 * 1024 * 1024  # --document-bytes
SECONDS = 5.0  # of this process alone; all take under 0.6


def filled(start: bytes, piece: bytes, end: bytes) -> bytes:
    """A document of so many pieces as it may have."""
    return start + piece * ((BYTES - len(start) - len(end)) // len(piece)) + end


def in_message(piece: bytes) -> bytes:
    return filled(b'{"restms":{"message":[', piece, b"{}]}}")


def in_number(start: bytes, digit: bytes) -> bytes:
    return filled(b'{"restms":{"message":{"a":' + start, digit, b"}}}")


def in_content(piece: bytes) -> bytes:
    start, end = b"<restms><message><content>", b"</content></message></restms>"
    return filled(start, piece, end)


JSON = {
    "the longest numbers": in_message(b'{"a":' + b"9" * 4300 + b"},"),
    "a longer number": in_number(b"", b"9"),
    "a long fraction": in_number(b"0.", b"1"),
    "a long exponent": in_number(b"1e", b"9"),
    "a long negative exponent": in_number(b"1e-", b"9"),
    "fractions": in_message(b'{"a":0.' + b"1" * 770 + b"},"),
    "escapes": filled(b'{"restms":{"message":{"a":"', b"\\u0061", b'"}}}'),
    "nests": in_message(b'{"a":' + b"[" * 25 + b"]" * 25 + b"},"),
    "messages": in_message(b"{},"),
    "names": b'{"restms":{' + b",".join(b'"%x":0' % n for n in range(180_000)) + b"}}",
}
MESSAGES = b"\xa1\x66restms\xa1\x67message"
CBOR = {
    "messages": filled(MESSAGES + b"\x9f", b"\xa0", b"\xff"),
    "lists": filled(MESSAGES + b"\x9f", b"\x80", b"\xff"),
    "nests without end": filled(MESSAGES, b"\x9f", b""),
    "maps without end": filled(MESSAGES, b"\xbf\x60", b""),
    "a text in empty pieces": filled(MESSAGES + b"\x81\xa1\x61a\x7f", b"\x60", b"\xff"),
    "a huge number": filled(MESSAGES + b"\xc2\x5a\x00\x1f\xff\x00", b"\xff", b""),
    "tags": filled(MESSAGES, b"\xc1", b""),
    "names of one hash": b"\xbf"
    + b"".join(
        b"\xfb" + struct.pack(">d", 2.0**power * odd) + b"\0"
        for odd in range(1, 4000, 2)
        for power in range(-915, 960, 61)
    )
    + b"\xff",
    **{
        f"an announced giant of kind {kind >> 5}": MESSAGES
        + bytes((kind + 27,))
        + b"\0\0\0\x7f" * 2
        for kind in (0x40, 0x60, 0x80, 0xA0)
    },
}
XML = {
    "a long namespace": filled(
        b'<restms xmlns="' + b"u" * (BYTES // 2) + b'">', b"<a/>", b"</restms>"
    ),
    "a long namespace of attributes": filled(
        b'<restms xmlns:a="' + b"u" * (BYTES // 2) + b'">', b'<b a:c=""/>', b"</restms>"
    ),
    "the longest namespace": filled(b'<restms xmlns="' + b"u" * 255 + b'">', b"<a/>", b"</restms>"),
    "namespaces": b"<restms "
    + b" ".join(b'xmlns:a%d="u%d"' % (n, n) for n in range(40_000))
    + b">"
    + b"<a0:b/>" * 40_000
    + b"</restms>",
    "a long name": filled(b"<restms><", b"a", b"/></restms>"),
    "comments": in_content(b"<!---->"),
    "instructions": in_content(b"<?a?>"),
    "sections": in_content(b"<![CDATA[x]]>"),
    "brackets": in_content(b"]"),
    "characters": in_content(b"&#x41;"),
    "a DTD in UTF-16": (
        '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE restms [<!ENTITY a "b">]>'
        "<restms>&a;</restms>"
    ).encode("utf-16"),
    "a DTD in UTF-7": b'<?xml version="1.0" encoding="utf-7"?>+ADwAIQ-DOCTYPE restms+AD4-<restms/>',
    "a DTD without end": filled(b"<!DOCTYPE ", b"a", b""),
}
ALL = [
    pytest.param(read, document, id=f"{form}: {name}")
    for form, read, documents in (
        ("JSON", documents_json.read, JSON),
        ("CBOR", documents_cbor.read, CBOR),
        ("XML", documents_xml.read, XML),
    )
    for name, document in documents.items()
]


@pytest.mark.parametrize(("read", "document"), ALL)
def test_a_document_takes_no_more_than_its_length(
    read: Callable[[bytes], object], document: bytes
) -> None:
    assert len(document) <= BYTES
    before = time.process_time()
    with suppress(BadRequestError):
        read(document)
    assert time.process_time() - before < SECONDS


@pytest.mark.parametrize("name", ["a long namespace", "a DTD in UTF-16", "a DTD in UTF-7"])
def test_what_makes_a_document_dear_is_refused(name: str) -> None:
    with pytest.raises(BadRequestError):
        documents_xml.read(XML[name])
