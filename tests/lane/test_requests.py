"""Which requests are the lane's, and which are refused: read as HTTP/1.1 has it, or not at all."""

from contextlib import suppress

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restms_cluster.errors import BadRequestError
from restms_cluster.names import FeedName, Kind, Token
from restms_node.config import Settings
from restms_node.lane_requests import Head, Heads

PIPE = "p" + "0" * 32
MESSAGE = f"/restms/resource/{PIPE}-7"
FEED = "/restms/feed/news"
heads = Heads(Settings(hosts=("*",)))


def lines(first: str, *headers: str, host: str = "Host: a") -> bytes:
    return "\r\n".join([first, *([host] if host else []), *headers, "", ""]).encode("latin-1")


def post(*headers: str, target: str = FEED, length: str = "Content-Length: 5") -> bytes:
    return lines(f"POST {target} HTTP/1.1", "Content-Type: text/xml", length, *headers)


def get(*headers: str, target: str = MESSAGE, host: str = "Host: a") -> bytes:
    return lines(f"GET {target} HTTP/1.1", *headers, host=host)


def read(data: bytes) -> Head:
    found = heads.read(data)
    assert found is not None
    return found


def test_a_publish_is_the_lanes() -> None:
    found = read(post("Accept: a/b", "ACCEPT:\tc/d ", "Connection: Close"))
    assert (found.method, found.path, found.target) == ("POST", FEED, FeedName("default", "news"))
    assert (found.length, found.close) == (5, True)
    assert found.headers["accept"] == "a/b, c/d"
    assert found.headers["host"] == "a"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_message_is_the_lanes(method: str) -> None:
    found = read(lines(f"{method} {MESSAGE} HTTP/1.1", "Content-Length: 0"))
    assert found.target == Token(Kind.PIPE, "0" * 32, number=7)
    assert (found.length, found.close) == (0, False)


def test_the_same_lines_under_another_first_line_are_another_request() -> None:
    other = f"/restms/resource/{PIPE}-8"
    assert [read(get(target=path)).path for path in (MESSAGE, other, MESSAGE)] == [
        MESSAGE,
        other,
        MESSAGE,
    ]


def test_a_path_may_have_the_prefix_of_the_base_url() -> None:
    behind = Heads(Settings(base_url="https://public.example/api", hosts=("*",)))
    for path in (MESSAGE, f"/api{MESSAGE}"):
        found = behind.read(get(target=path))
        assert found is not None
        assert found.target == Token(Kind.PIPE, "0" * 32, number=7)
    assert heads.read(get(target=f"/api{MESSAGE}")) is None


ELSEWHERE = [
    post(target="/restms/domain/default"),
    post(target=f"/restms/resource/{PIPE}"),
    post(target="/restms/feed/%6eews"),
    post(target="/restms/feed/news?x=1"),
    post(target="http://a/restms/feed/news"),
    post(target="/restms/feed/~"),
    post(length="Transfer-Encoding: chunked"),
    post(length="A: b"),
    post(length="Content-Length: 100000000"),
    post("Expect: 100-continue"),
    post("Content-Encoding: gzip"),
    post("Origin: http://page.example"),
    lines(f"POST {FEED} HTTP/1.1", "Content-Length: 5"),
    lines(f"POST {FEED} HTTP/1.1", "Content-Length: 5", "Content-Type: image/png"),
    lines(
        f"POST {FEED} HTTP/1.1",
        "Content-Length: 5",
        "Content-Type: application/restms+json; charset=latin-1",
    ),
    get(target="/livez"),
    get(target="*"),
    get(target="/restms/resource/p0"),
    get(target=f"{MESSAGE}-1"),
    get(target=f"/restms/resource/{PIPE}"),
    get("Content-Length: 5"),
    get("Upgrade: other", "Connection: upgrade"),
    get("Connection: keep-alive, te"),
    get("TE: trailers"),
    get(host="Host:"),
    get("A: " + "b" * 16_384),
    lines(f"HEAD {MESSAGE} HTTP/1.1"),
    lines(f"GET {MESSAGE} HTTP/1.0"),
    lines(f"GET  {MESSAGE} HTTP/1.1"),
    lines(f"get {MESSAGE} HTTP/1.1"),
    b"PRI * HTTP/2.0\r\n\r\n",
    b"\r\n" + get(),
]


@pytest.mark.parametrize("data", ELSEWHERE, ids=repr)
def test_what_is_unusual_is_for_the_whole_server(data: bytes) -> None:
    assert heads.read(data) is None


REFUSED = [
    post("Transfer-Encoding: chunked"),
    post("Content-Length: 5"),
    post("Content-Length: 6"),
    post(length="Content-Length: +5"),
    post(length="Content-Length: -5"),
    post(length="Content-Length: 5, 5"),
    post(length="Content-Length: 0x5"),
    post(length="Content-Length:"),
    post(length="Content-Length: " + "9" * 40),
    get(host=""),
    get("Host: a"),
    get(host="Host: a, b"),
    get(host="Host: user@a"),
    get(host="Host: a/b"),
    get("A : b"),
    get("A: b", " c"),
    get(" A: b"),
    get("A: b\nC: d"),
    get("A: b\rC: d"),
    get("A: b\0"),
    get("A: b\x01"),
    get("no colon"),
    get(": nameless"),
    get("A(b): c"),
    get("\xe4: b"),
]  # fmt: skip


@pytest.mark.parametrize("data", REFUSED, ids=repr)
def test_what_could_be_read_in_two_ways_is_refused(data: bytes) -> None:
    with pytest.raises(BadRequestError) as refused:
        heads.read(data)
    assert refused.value.text.endswith(".")


@pytest.mark.parametrize("data", [b"G", b"DELETE /restms/", get()[:-2], post()[:40]], ids=repr)
def test_what_may_become_a_request_of_the_lane_is_awaited(data: bytes) -> None:
    assert heads.may_begin(data)


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01", b"PUT /", b"PRI", b"GET h", b"GET / HTTP/1.1\r\n", get()[:60] + b"\n"]
)
def test_what_cannot_become_one_is_not(data: bytes) -> None:
    assert not heads.may_begin(data)


def test_lines_without_a_carriage_return_are_refused_before_the_head_ends() -> None:
    with pytest.raises(BadRequestError):
        heads.may_begin(f"GET {MESSAGE} HTTP/1.1\r\nHost: a\n\n".encode())


pieces = st.sampled_from(
    [
        b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b",", b"Content-Length: 5", b"Host: a",
        b"Transfer-Encoding: chunked", b"Content-Type: text/xml", b"A: b", b"Content-Length: 7",
        b"Connection: close", b"Host: b", b"x", b"\x0b", b"\x85", b"Upgrade: h2c", b"5",
    ]
)  # fmt: skip
first_lines = st.sampled_from(
    [f"POST {FEED} HTTP/1.1\r\n", f"GET {MESSAGE} HTTP/1.1\r\n", f"DELETE {MESSAGE} HTTP/1.1\r\n"]
).map(str.encode)
wild = st.builds(
    lambda first, middle: first + b"Host: a\r\n" + b"".join(middle) + b"\r\n\r\n",
    first_lines,
    st.lists(st.one_of(pieces, st.just(b"\r\n"), st.binary(max_size=3)), max_size=12),
)


@given(wild)
def test_what_the_lane_takes_another_parser_reads_in_the_same_way(data: bytes) -> None:
    data = data[: data.index(b"\r\n\r\n") + 4]
    try:
        found = heads.read(data)
    except BadRequestError:
        return
    if found is None:
        return
    other = h11.Connection(h11.SERVER)
    other.receive_data(data)
    request = other.next_event()
    assert isinstance(request, h11.Request)
    assert (request.method.decode(), request.target.decode()) == (found.method, found.path)
    joined: dict[str, str] = {}
    for name, value in request.headers:
        key, text = name.decode(), value.decode("latin-1")
        joined[key] = f"{joined[key]}, {text}" if key in joined else text
    assert joined == dict(found.headers)
    assert int(joined.get("content-length", "0")) == found.length


@given(st.binary(max_size=200))
def test_any_bytes_are_read_refused_or_given_away(data: bytes) -> None:
    for step in (heads.may_begin, heads.read):
        with suppress(BadRequestError):
            step(data)


UPGRADE = ("Connection: Upgrade", "Upgrade: WebSocket")
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="


def test_a_websocket_goes_over_to_hypercorn() -> None:
    pipe = f"/restms/resource/{PIPE}"
    assert heads.read(get(*UPGRADE, KEY, "Sec-WebSocket-Version: 13", target=pipe)) is None


@pytest.mark.parametrize("more", [(), (KEY,), (KEY, "Sec-WebSocket-Version: 8")], ids=repr)
def test_a_websocket_that_cannot_be_opened_is_refused(more: tuple[str, ...]) -> None:
    with pytest.raises(BadRequestError, match="WebSocket"):
        heads.read(get(*UPGRADE, *more, target=f"/restms/resource/{PIPE}"))
