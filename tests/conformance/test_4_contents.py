"""Section 4: contents of any size, as they come in and go out."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from tests.conformance.client import Client, expect, unique
from tests.conformance.conftest import ADDRESS, CONTENT_BYTES
from tests.conformance.documents import binary, message, staged

pytestmark = pytest.mark.ours

SIZES = (10, 1 << 20)
"""A content that a node answers at once, and one that it streams."""


def some_bytes(size: int) -> bytes:
    """Bytes in which every place can be told from those around it."""
    return b"".join(number.to_bytes(4, "big") for number in range(size // 4 + 1))[:size]


def in_pieces(data: bytes) -> Iterator[bytes]:
    """A body whose length is not told before."""
    for start in range(0, len(data), 50_000):
        yield data[start : start + 50_000]


@pytest.fixture(params=["staged", "delivered", "embedded"])
def how(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def content_uri(broker: Client, feed: str, pipe: str, data: bytes, how: str) -> str:
    """The URI of a content that was staged, or staged and delivered, or that came in a message."""
    if how == "staged":
        return broker.stage(feed, data, "image/png")
    if how == "delivered":
        content = staged(broker.stage(feed, data, "image/png"))
    else:
        content = binary(data, "image/png")
    broker.publish(feed, message(ADDRESS, content))
    return f"{broker.messages(pipe)[0]}-1"


@pytest.mark.parametrize("size", SIZES)
def test_content_may_come_in_a_chunked_body(broker: Client, feed: str, size: int) -> None:
    data = some_bytes(size)
    headers = {"content-type": "image/png", "accept": ""}
    answer = expect(broker.request("POST", feed, body=in_pieces(data), headers=headers), 201)
    got = expect(broker.get(answer.headers["Location"]), 200)
    assert (got.headers["Content-Type"], got.content) == ("image/png", data)


@pytest.mark.parametrize("size", SIZES)
def test_length_of_a_content_is_told(
    broker: Client, feed: str, pipe: str, size: int, how: str
) -> None:
    uri = content_uri(broker, feed, pipe, some_bytes(size), how)
    for answer in (broker.get(uri), broker.head(uri), broker.head(uri, range="bytes=0-1")):
        expect(answer, 200)
        assert answer.headers["Content-Length"] == str(size)
        assert answer.headers["Accept-Ranges"] == "bytes"
        assert answer.headers["Content-Type"] == "image/png"


@pytest.mark.parametrize("size", SIZES)
def test_a_range_of_a_content_is_206(
    broker: Client, feed: str, pipe: str, size: int, how: str
) -> None:
    data = some_bytes(size)
    uri = content_uri(broker, feed, pipe, data, how)
    middle = size // 2
    for asked, first, last in (
        ("0-0", 0, 0),
        ("3-6", 3, 6),
        (f"{middle}-", middle, size - 1),
        (f"{middle}-{10 * size}", middle, size - 1),
        ("-4", size - 4, size - 1),
        (f"-{10 * size}", 0, size - 1),
    ):
        answer = expect(broker.get(uri, range=f"bytes={asked}"), 206)
        assert answer.content == data[first : last + 1]
        assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{size}"
        assert answer.headers["Content-Length"] == str(last + 1 - first)
        assert answer.headers["Content-Type"] == "image/png"
        assert answer.headers["ETag"] == broker.head(uri).headers["ETag"]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("asked", ["{size}-", "{size}-{size}", "-0"])
def test_a_range_beyond_a_content_is_416(broker: Client, feed: str, size: int, asked: str) -> None:
    uri = broker.stage(feed, some_bytes(size))
    answer = expect(broker.get(uri, range=f"bytes={asked.format(size=size)}"), 416)
    assert answer.headers["Content-Range"] == f"bytes */{size}"
    assert answer.headers["RestMS-Error"] == "bad_range"
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("asked", ["bytes=0-1,4-5", "bytes=2-1", "lines=0-1", "bytes=x-y"])
def test_other_ranges_are_answered_with_the_whole_content(
    broker: Client, feed: str, asked: str
) -> None:
    data = some_bytes(10)
    answer = expect(broker.get(broker.stage(feed, data), range=asked), 200)
    assert answer.content == data
    assert "Content-Range" not in answer.headers


def test_an_empty_content_is_answered_whole(broker: Client, feed: str) -> None:
    answer = expect(broker.get(broker.stage(feed, b""), range="bytes=0-"), 200)
    assert (answer.content, answer.headers["Content-Length"]) == (b"", "0")


@pytest.mark.parametrize("size", SIZES)
def test_if_range_asks_for_a_part_of_what_the_client_has(
    broker: Client, feed: str, pipe: str, size: int, how: str
) -> None:
    data = some_bytes(size)
    uri = content_uri(broker, feed, pipe, data, how)
    headers = broker.head(uri).headers
    for known in (headers["ETag"], headers["Last-Modified"]):
        answer = expect(broker.get(uri, range="bytes=1-2", if_range=known), 206)
        assert answer.content == data[1:3]
    for other in ('"1-raw"', f"W/{headers['ETag']}", "Sun, 06 Nov 1994 08:49:37 GMT", "x"):
        assert expect(broker.get(uri, range="bytes=1-2", if_range=other), 200).content == data


def test_a_conditional_get_goes_before_a_range(broker: Client, feed: str) -> None:
    uri = broker.stage(feed, some_bytes(10))
    tag = broker.head(uri).headers["ETag"]
    expect(broker.get(uri, range="bytes=1-2", if_none_match=tag), 304)


@pytest.mark.parametrize("size", SIZES)
def test_a_repeated_upload_with_a_key_is_one_content(broker: Client, feed: str, size: int) -> None:
    data, headers = some_bytes(size), {"content-type": "a/b", "idempotency-key": unique("key")}

    def stage(body: bytes, kind: str = "a/b") -> httpx.Response:
        headers["content-type"] = kind
        return broker.request("POST", feed, body=in_pieces(body), headers=headers)

    first, again = (expect(stage(data), 201).headers["Location"] for _ in range(2))
    assert urlsplit(first).path == urlsplit(again).path
    expect(stage(data[:-1]), 422)
    expect(stage(data[:-1] + b"x"), 422)
    expect(stage(data, "a/c"), 422)


def test_a_content_beyond_the_limit_is_413(small: Client) -> None:
    feed = small.create_feed(unique("feed"))
    headers = {"content-type": "a/b"}
    for body in (b"x" * (CONTENT_BYTES + 1), in_pieces(b"x" * (CONTENT_BYTES + 1))):
        answer = expect(small.request("POST", feed, body=body, headers=headers), 413)
        assert answer.headers["RestMS-Error"] == "too_large"
    small.stage(feed, b"x" * CONTENT_BYTES)


@pytest.mark.parametrize("size", SIZES)
def test_a_content_for_no_feed_is_404(broker: Client, size: int) -> None:
    uri = f"/restms/feed/{unique('nowhere')}"
    expect(broker.request("POST", uri, body=some_bytes(size), headers={"content-type": "a/b"}), 404)


def test_a_large_content_is_gone_at_once_with_its_message(
    broker: Client, feed: str, pipe: str
) -> None:
    uri = content_uri(broker, feed, pipe, some_bytes(1 << 20), "delivered")
    expect(broker.get(uri, range="bytes=5-6"), 206)
    broker.acknowledge(broker.messages(pipe)[0])
    expect(broker.get(uri), 404)
    expect(broker.get(uri, range="bytes=5-6"), 404)
