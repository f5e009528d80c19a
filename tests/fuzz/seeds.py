"""Good inputs of each kind, to begin with."""

import gzip
from collections.abc import Mapping

import cbor2
from backports import zstd

from restms_node import documents_cbor, documents_json, documents_xml

SECRET = "0123456789abcdef0123456789abcdef"
TREES = (
    {
        "feed": [
            {
                "name": "news",
                "type": "topic",
                "title": "a ü 😀",
                "dedup": "0.5",
                "dead_letter": "/restms/feed/b",
            }
        ]
    },
    {"pipe": [{"type": "ondemand", "title": '<&">'}]},
    {
        "join": [
            {
                "address": "a.*.#",
                "feed": "../feed/news",
                "header": [{"name": "x-match", "value": "any"}],
            }
        ]
    },
    {
        "message": [
            {
                "address": "a.b",
                "message_id": "1",
                "priority": "9",
                "expiration": "1000",
                "delay": "0",
                "header": [{"name": "n", "value": "v\t\n\r"}],
                "content": [
                    {"type": "text/plain;charset=utf-8", "encoding": "plain", "value": "text"},
                    {"type": "image/png", "value": b"\0\xff"},
                    {"href": f"/restms/resource/c{SECRET}"},
                ],
            },
            {"address": "", "deliver_at": "2030-01-31T12:00:00.5+01:00"},
        ]
    },
)
SEALED = (
    {"address": "a", "content": [{"type": "text/plain", "value": "text"}]},
    {"address": "b", "message_id": "7", "content": [{"type": "a/b", "value": b"\0"}]},
    {
        "address": "c",
        "user_id": "u",
        "content": [{"type": "text/plain", "value": "ü", "encoding": "plain"}],
    },
)

HEADERS = (
    "text/xml;q=0.5, application/restms+json, */*;q=0.1",
    'application/restms+json; charset="utf-8"; a="\\""',
    'W/"1-x", "5f3e-j.gzip", *',
    "Thu, 01 Jan 2026 00:00:00 GMT",
    "Sunday, 06-Nov-94 08:49:37 GMT",
    "Sun Nov  6 08:49:37 1994",
    "wait=30, return=minimal; a=b",
    "bytes=0-1023",
    "bytes=-5, 7-",
    "gzip;q=1.0, zstd;q=0, *;q=0.5, identity;q=0",
    "messages=5",
    "messages=%35&a=1",
    f"/restms/resource/p{SECRET}-7-1",
    "http://user@[::1]:80/restms/feed/sales/a%20b?x#y",
    f"../resource/sales.c{SECRET}",
    "2030-01-31T12:00:00.123456-23:59",
    "0.001",
    "news~-._",
    "example.org:8080",
)


def _documents(write: object) -> tuple[bytes, ...]:
    return tuple(write(tree) for tree in TREES)  # type: ignore[operator]


def _head(line: str, *headers: str) -> bytes:
    lines = [f"{line} HTTP/1.1", "Host: [::1]:80", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


SEEDS: Mapping[str, tuple[bytes, ...]] = {
    "xml": (
        *_documents(documents_xml.write),
        b"<r:restms xmlns:r='u'><r:feed/><![CDATA[x]]></r:restms>",
    ),
    "json": _documents(documents_json.write),
    "cbor": (
        *_documents(documents_cbor.write),
        b"\xbf\x66restms\xbf\x67message\x9f\xa0\xff\xff\xff",
    ),
    "sealed": tuple(
        cbor2.dumps({"restms": {"message": list(each)}})
        for each in (SEALED[:1], SEALED[1:], SEALED, ({"address": "", "a": None},))
    ),
    "sequence": (
        b"".join(cbor2.dumps(one) for one in SEALED),
        b"\xbf\x67address\x7f\x61a\x61b\xff\xff\xf6",
    ),
    "headers": tuple(text.encode() for text in HEADERS),
    "codings": (gzip.compress(b"a" * 300), zstd.compress(b"b" * 300), gzip.compress(b"") * 3),
    "heads": (
        _head("POST /restms/feed/a", "Content-Type: text/xml", "Content-Length: 5"),
        _head(f"GET /restms/resource/p{SECRET}-1?messages=5", "Prefer: wait=0"),
        _head(f"DELETE /restms/resource/p{SECRET}-1", "Connection: close", "X: \t\xe4"),
        _head("GET /", "Upgrade: websocket", "Connection: upgrade", "Sec-WebSocket-Version: 13"),
    ),
    "frames": (
        b'{"acknowledge":"http://a/restms/resource/p1-2"}',
        b"{}",
        cbor2.dumps({"acknowledge": "x"}),
    ),
}
