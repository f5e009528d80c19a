"""Whatever is sent, to whatever resource: a plain refusal at most, never a failure."""

import http.client
import io
import itertools
import json
import socket
from collections.abc import Callable

import cbor2
import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.end_to_end.conftest import Client, name
from tests.nodes import Cluster

TYPES = ("text/xml", "application/restms+xml", "application/restms+json", "application/restms+cbor")
NOT_FAILURES = (501,)  # a media type that the server does not speak
BUDGET = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

words = st.sampled_from(
    ["restms", "domain", "feed", "pipe", "join", "message", "header", "content", "profile", "value"]
)
attributes = st.sampled_from(
    ["name", "type", "title", "license", "address", "feed", "href", "encoding", "value", "async"]
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20),
    st.sampled_from(["", "default", "fifo", "base64", "/restms/feed/default", "../..", "http://["]),
)  # fmt: skip
trees = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(words, attributes, st.text(max_size=5)), inner, max_size=4),
    ),
    max_leaves=12,
)
documents = st.one_of(trees, trees.map(lambda tree: {"restms": tree}))


def as_xml(tree: object, tag: str = "restms") -> str:
    """Write any tree as something like XML; nothing is escaped, on purpose."""
    if isinstance(tree, dict):
        flat = {k: v for k, v in tree.items() if not isinstance(v, dict | list)}
        inner = "".join(as_xml(v, k) for k, v in tree.items() if isinstance(v, dict | list))
        pairs = "".join(f' {key}="{value}"' for key, value in flat.items())
        return f"<{tag}{pairs}>{inner}</{tag}>"
    if isinstance(tree, list):
        return "".join(as_xml(item, tag) for item in tree)
    return f"<{tag}>{tree}</{tag}>"


def plain(tree: object) -> object:
    """A tree that json and cbor2 can write whatever hypothesis put in it."""
    if isinstance(tree, dict):
        return {str(key): plain(value) for key, value in tree.items()}
    return [plain(item) for item in tree] if isinstance(tree, list) else tree


bodies = st.one_of(
    st.binary(max_size=200),
    documents.map(lambda tree: as_xml(tree).encode("utf-8", "surrogatepass")),
    documents.map(lambda tree: json.dumps(plain(tree)).encode("utf-8", "surrogatepass")),
    documents.map(plain).filter(lambda tree: "\\ud" not in json.dumps(tree)).map(cbor2.dumps),
)
header_values = st.one_of(
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30),
    st.sampled_from(["*", "*/*;q=2", '"', 'W/"', '"abc-x"', "wait=-1", "wait=9e9", ",,,", "0"]),
)
headers = st.dictionaries(
    st.sampled_from(
        [
            "Accept", "Content-Type", "If-Match", "If-None-Match", "If-Modified-Since",
            "If-Unmodified-Since", "When-Modified-After", "Origin", "X-Forwarded-Host",
            "X-Forwarded-Proto", "Range", "Expect", "Date",
        ]
    ),
    header_values,
    max_size=4,
)  # fmt: skip


@pytest.fixture(scope="module")
def target(shared_cluster: Cluster) -> Callable[..., http.client.HTTPResponse]:
    """Send raw bytes as a request to the nodes in turn."""
    turn = itertools.cycle(shared_cluster.urls)

    def send(
        method: str, path: str, fields: dict[str, str], body: bytes
    ) -> http.client.HTTPResponse:
        host, _, port = next(turn).removeprefix("http://").partition(":")
        lines = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", "Prefer: wait=0"]
        lines += [f"{key}: {value}" for key, value in fields.items()]
        lines.append(f"Content-Length: {len(body)}")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
            answer = http.client.HTTPResponse(connection, method=method)
            answer.begin()
            answer.body = answer.read()
            return answer

    return send


@pytest.fixture(scope="module")
def resources(shared_cluster: Cluster) -> list[str]:
    """One of each resource, with a message waiting in the pipe, and some that are not there."""
    client = Client(shared_cluster)
    pipe = client.new_pipe()
    client.publish(name(pipe), "hello")
    staged = client.send("POST", "/restms/feed/default", b"x", Content_Type="image/png")
    client.send("POST", "/restms/domain/default", '<restms><feed name="garbage"/></restms>')
    private = client.send("POST", "/restms/domain/default", "<restms><feed/></restms>")
    join = client.send(
        "POST", pipe, '<restms><join address="x" feed="/restms/feed/garbage"/></restms>'
    )
    client.close()
    uris = [pipe, f"{pipe}-1", f"{pipe}-1-1", f"{pipe}-2", f"{pipe}-99999999999999"]
    uris += [answer.headers["location"] for answer in (staged, private, join)]
    paths = [httpx.URL(uri).path for uri in uris]
    return [
        *paths, "/restms/domain/default", "/restms/feed/default", "/restms/feed/garbage",
        "/restms/feed/sales/x", "/restms/resource/p0", "/restms/profile/3/Defaults", "/", "/livez",
        "/restms/domain/nowhere", "/restms/feed/%2e%2e/%00", "/restms/resource/%ff%fe", "//", "/%",
    ]  # fmt: skip


def check(answer: http.client.HTTPResponse) -> None:
    assert answer.status < 500 or answer.status in NOT_FAILURES, answer.body
    assert b"Traceback" not in answer.body
    if answer.status >= 400 and answer.body:
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.body.count(b"\n") == 1


methods = st.sampled_from(["GET", "HEAD", "POST", "PUT", "OPTIONS", "PATCH", "BREW"])


@given(data=st.data())
@BUDGET
def test_any_body_in_any_media_type_to_any_resource(
    data: st.DataObject, target: Callable[..., http.client.HTTPResponse], resources: list[str]
) -> None:
    method = data.draw(st.sampled_from(["POST", "PUT"]))
    kind = data.draw(st.sampled_from(TYPES))
    path = data.draw(st.sampled_from(resources))
    check(target(method, path, {"Content-Type": kind}, data.draw(bodies)))


@given(data=st.data())
@BUDGET
def test_any_method_with_any_headers_on_any_resource(
    data: st.DataObject, target: Callable[..., http.client.HTTPResponse], resources: list[str]
) -> None:
    path = data.draw(st.sampled_from(resources))
    check(target(data.draw(methods), path, data.draw(headers), data.draw(bodies)))


@given(
    path=st.text(
        st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=" "), max_size=60
    ),
    method=methods,
)
@BUDGET
def test_any_path(path: str, method: str, target: Callable[..., http.client.HTTPResponse]) -> None:
    for prefix in ("/", "/restms/", "/restms/feed/", "/restms/resource/"):
        check(target(method, prefix + path, {}, b""))


@given(noise=st.binary(min_size=1, max_size=300))
@BUDGET
def test_bytes_that_are_no_http(noise: bytes, shared_cluster: Cluster) -> None:
    host, _, port = shared_cluster.urls[0].removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(noise + b"\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b" 500 " not in answer.partition(b"\r\n")[0]


@pytest.mark.parametrize(
    "smuggled",
    [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 6",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: xchunked",
        "Content-Length: +5",
    ],
)
def test_requests_that_two_parsers_could_read_differently_are_refused(
    smuggled: str, shared_cluster: Cluster
) -> None:
    request = (
        "POST /restms/domain/default HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\n"
        f"{smuggled}\r\n\r\n0\r\n\r\nGET /restms/domain/default HTTP/1.1\r\nHost: x\r\n\r\n"
    )
    host, _, port = shared_cluster.urls[0].removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(request.encode())
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.status in (400, 501)
        answer.read()
        rest = io.BytesIO(b"".join(iter(lambda: connection.recv(65536), b"")))
    assert rest.getvalue() == b""  # the connection ends: what follows is not taken for a request


def test_a_hostile_host_does_not_get_into_uris(shared_cluster: Cluster) -> None:
    for host in ('evil"/><x y="', "a b", "x/y", "user@host", "[::1", ""):
        url = shared_cluster.urls[0].removeprefix("http://")
        with socket.create_connection(url.split(":"), timeout=20) as connection:
            request = (
                f"GET /restms/domain/default HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
            )
            connection.sendall(request.encode())
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            body = answer.read()
        assert answer.status == 400 or (host == "" and url.encode() in body)
