"""Section 2: content codings, of what clients send and of what they get."""

import gzip

import cbor2
import httpx
import pytest

from restms_node.codings import zstd
from tests.conformance.client import DOMAIN, Client, expect, unique
from tests.conformance.conftest import ADDRESS, CONTENT_BYTES, DOCUMENT_BYTES
from tests.conformance.documents import XML, data_of, message, numbered, restms, text

pytestmark = pytest.mark.ours

COMPRESS = {"gzip": gzip.compress, "x-gzip": gzip.compress, "zstd": zstd.compress}
EVERY = pytest.mark.parametrize("coding", COMPRESS)


def post(
    client: Client, feed: str, body: bytes, coding: str, media_type: str = XML.media_type
) -> httpx.Response:
    headers = {"content-type": media_type, "content-encoding": coding}
    return client.request("POST", feed, body=body, headers=headers)


def large() -> dict[str, str]:
    return {"name": unique("large"), "title": "A long title. " * 200}


@pytest.fixture
def described(broker: Client) -> str:
    """A feed whose description is worth compressing."""
    return broker.create_feed(**large())


# Requests


@EVERY
def test_a_document_may_come_compressed(broker: Client, feed: str, pipe: str, coding: str) -> None:
    document = COMPRESS[coding](XML.write(restms(message=numbered(50, address=ADDRESS))))
    expect(post(broker, feed, document, coding), 200)
    assert broker.ids(pipe) == [str(number) for number in range(1, 51)]


@EVERY
def test_a_content_is_kept_without_its_coding(broker: Client, feed: str, coding: str) -> None:
    """Only the MIME type is kept with a content."""
    answer = post(broker, feed, COMPRESS[coding](b"content" * 1000), coding, "text/plain")
    content = expect(broker.get(expect(answer, 201).headers["Location"]), 200)
    assert content.content == b"content" * 1000
    assert "Content-Encoding" not in content.headers


@EVERY
def test_a_stream_may_come_compressed(broker: Client, feed: str, pipe: str, coding: str) -> None:
    data = b"".join(cbor2.dumps(item) for item in numbered(50, address=ADDRESS))
    answer = expect(post(broker, feed, COMPRESS[coding](data), coding, "application/cbor-seq"), 200)
    assert answer.headers["RestMS-Routed"] == "50"
    assert broker.ids(pipe) == [str(number) for number in range(1, 51)]


def test_a_stream_that_breaks_within_its_coding_tells_what_came_before(
    broker: Client, feed: str, pipe: str
) -> None:
    items = [gzip.compress(cbor2.dumps(item)) for item in numbered(2, address=ADDRESS)]
    body = items[0] + items[1][:-4]
    answer = expect(post(broker, feed, body, "gzip", "application/cbor-seq"), 400)
    assert int(answer.headers["RestMS-Routed"]) == len(broker.ids(pipe)) >= 1


def test_identity_is_no_coding(broker: Client, feed: str) -> None:
    document = XML.write(restms(message=[message(ADDRESS)]))
    expect(post(broker, feed, document, "identity"), 200)


@pytest.mark.parametrize("coding", ["br", "deflate", "compress", "gzip, gzip", "nonsense"])
@pytest.mark.parametrize("media_type", [XML.media_type, "text/plain", "application/cbor-seq"])
def test_other_codings_are_refused(broker: Client, feed: str, coding: str, media_type: str) -> None:
    answer = expect(post(broker, feed, b"body", coding, media_type), 415)
    assert {name.strip() for name in answer.headers["Accept-Encoding"].split(",")} == {
        "gzip",
        "zstd",
    }


@EVERY
@pytest.mark.parametrize("media_type", [XML.media_type, "text/plain", "application/cbor-seq"])
def test_a_body_that_is_not_what_it_says_is_refused(
    broker: Client, feed: str, coding: str, media_type: str
) -> None:
    expect(post(broker, feed, b"not compressed", coding, media_type), 400)
    whole = COMPRESS[coding](XML.write(restms(message=[message(ADDRESS)])))
    expect(post(broker, feed, whole[:-1], coding, media_type), 400)


@EVERY
def test_limits_are_those_of_what_comes_out(small: Client, coding: str) -> None:
    feed = small.create_feed(unique("bombs"))
    for size, status in ((DOCUMENT_BYTES, 200), (50_000_000, 413)):
        document = XML.write(restms(message=[message(ADDRESS)])).ljust(size)
        expect(post(small, feed, COMPRESS[coding](document), coding), status)
    for size, status in ((CONTENT_BYTES, 201), (CONTENT_BYTES + 1, 413), (50_000_000, 413)):
        expect(post(small, feed, COMPRESS[coding](bytes(size)), coding, "a/b"), status)
    item = cbor2.dumps(message(ADDRESS, text("x" * 50_000_000)))
    expect(post(small, feed, COMPRESS[coding](item), coding, "application/cbor-seq"), 413)
    small.delete(feed)


# Answers


def test_a_document_is_compressed_as_the_client_likes(broker: Client, described: str) -> None:
    broker = broker.on(0)  # its name stands in the document
    plain = expect(broker.get(described, accept_encoding="identity"), 200)
    assert "Content-Encoding" not in plain.headers
    zipped = expect(broker.get(described, accept_encoding="gzip"), 200)
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert int(zipped.headers["Content-Length"]) < len(plain.content)
    assert zipped.content == plain.content
    dense = expect(broker.get(described, accept_encoding="gzip;q=0.5, zstd"), 200)
    assert dense.headers["Content-Encoding"] == "zstd"
    assert zstd.decompress(b"".join(dense.iter_bytes())) == plain.content
    for answer in (plain, zipped, dense):
        assert "accept-encoding" in answer.headers["Vary"].lower()


def test_head_says_what_get_would(broker: Client, described: str) -> None:
    broker = broker.on(0)
    got = broker.get(described, accept_encoding="gzip")
    head = expect(broker.head(described, accept_encoding="gzip"), 200)
    for name in ("ETag", "Content-Encoding", "Content-Length"):
        assert head.headers[name] == got.headers[name]


def test_small_documents_stay_as_they_are(broker: Client, feed: str) -> None:
    assert "Content-Encoding" not in broker.get(feed, accept_encoding="gzip").headers
    only = expect(broker.get(feed, accept_encoding="gzip, identity;q=0"), 200)
    assert only.headers["Content-Encoding"] == "gzip"
    assert b"feed" in only.content


def test_contents_and_errors_stay_as_they_are(broker: Client, feed: str) -> None:
    content = broker.stage(feed, b"<x/>" * 10_000, "application/xml")
    answer = expect(broker.get(content, accept_encoding="gzip"), 200)
    assert "Content-Encoding" not in answer.headers
    missing = broker.get(feed + "x" * 200, accept_encoding="gzip")
    assert "Content-Encoding" not in expect(missing, 404).headers


def test_messages_come_compressed(broker: Client, feed: str, pipe: str) -> None:
    broker.publish(feed, message(ADDRESS, text("a text " * 1000)))
    answer = broker.get(broker.messages(pipe)[0], accept_encoding="gzip")
    assert answer.headers["Content-Encoding"] == "gzip"
    (received,) = broker.document(answer)["message"]
    assert data_of(received["content"][0]) == b"a text " * 1000


def test_each_coding_has_its_etag_and_all_mean_the_same(broker: Client, described: str) -> None:
    tags = {
        coding: broker.get(described, accept_encoding=coding).headers["ETag"]
        for coding in ("identity", "gzip", "zstd")
    }
    assert len(set(tags.values())) == 3
    for coding, tag in tags.items():
        answer = expect(broker.get(described, accept_encoding=coding, if_none_match=tag), 304)
        assert answer.headers["ETag"] == tag
        weak = f"W/{tag}"
        expect(broker.get(described, accept_encoding=coding, if_none_match=weak), 304)
        waited = broker.get(described, accept_encoding=coding, when_none_match=tag, prefer="wait=0")
        expect(waited, 204)
    for title, tag in zip(("one", "two", "three"), tags.values(), strict=True):
        changed = restms(feed=[{"title": f"{title} " * 500}])
        expect(broker.put(described, changed, if_match=tag), 200 if title == "one" else 412)
        expect(broker.get(described, if_none_match=tag), 200)
    now = broker.get(described, accept_encoding="zstd").headers["ETag"]
    expect(broker.delete(described, if_match=now), 200)


def test_what_was_made_comes_compressed(broker: Client) -> None:
    answer = broker.post(DOMAIN, restms(feed=[large()]), accept_encoding="gzip")
    assert expect(answer, 201).headers["Content-Encoding"] == "gzip"
    assert b"A long title." in answer.content
