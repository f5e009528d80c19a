"""Requests that mean harm: read otherwise by a proxy, by a browser, or by what serves them.

Both nodes, the one with the lane and the one without, must answer all of them alike.
"""

import json
import socket
from collections.abc import Iterator

import pytest

from tests.conformance.wire import Wire
from tests.end_to_end.conftest import Client, name
from tests.nodes import Cluster

FEED, DOMAIN = "/restms/feed/default", "/restms/domain/default"
CLOSE = "Connection: close"
CHUNKED = "Transfer-Encoding: chunked\r\n"


def sent(url: str, data: str) -> bytes:
    """All that a node answers until it closes."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(data.encode("latin-1"))
        return b"".join(iter(lambda: connection.recv(65536), b""))


def head(method: str, path: str, *lines: str, host: str = "x") -> str:
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *lines, "", ""])


def statuses(answers: bytes) -> list[int]:
    return [int(part[:3]) for part in answers.split(b"HTTP/1.1 ")[1:]]


# What a proxy may read otherwise

NEXT = head("GET", "/livez", CLOSE)
POST = f"POST {FEED} HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\n"
AMBIGUOUS = {
    "two codings": f"{POST}{CHUNKED}{CHUNKED}\r\n0\r\n\r\n",
    "identity": f"{POST}Transfer-Encoding: identity\r\nContent-Length: 0\r\n\r\n",
    "gzip, chunked": f"{POST}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a coding in quotes": f'{POST}Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "a coding behind a control character": f"{POST}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "a coding on a folded line": f"{POST}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a signed length": f"{POST}Content-Length: +0\r\n\r\n",
    "a length with an underscore": f"{POST}Content-Length: 1_0\r\n\r\n",
    "an empty length": f"{POST}Content-Length:\r\n\r\n",
    "a huge length": f"{POST}Content-Length: {'9' * 30}\r\n\r\n",
    "a chunk in 0x": f"{POST}{CHUNKED}\r\n0x1\r\nx\r\n0\r\n\r\n",
    "a negative chunk": f"{POST}{CHUNKED}\r\n-1\r\nx\r\n0\r\n\r\n",
    "chunks that end in line feeds": f"{POST}{CHUNKED}\r\n1\nx\n0\n\n",
    "a chunk longer than it says": f"{POST}{CHUNKED}\r\n1\r\nxyz\r\n0\r\n\r\n",
    "HTTP/1.2": f"GET {DOMAIN} HTTP/1.2\r\nHost: x\r\n\r\n",
    "HTTP/2.0": f"GET {DOMAIN} HTTP/2.0\r\nHost: x\r\n\r\n",
    "NUL in the path": f"GET {DOMAIN}\0 HTTP/1.1\r\nHost: x\r\n\r\n",
    "another host in the target": f"GET http://y{DOMAIN} HTTP/1.1\r\nHost: x\r\n\r\n",
    "a user in the target": f"GET http://y@x{DOMAIN} HTTP/1.1\r\nHost: x\r\n\r\n",
    "a scheme of another kind": f"GET file://x{DOMAIN} HTTP/1.1\r\nHost: x\r\n\r\n",
    "a label that is too long": head("GET", DOMAIN, host="x" * 64),
    "an empty label": head("GET", DOMAIN, host="x..y"),
    "CONNECT to a path": head("CONNECT", DOMAIN),
}


@pytest.mark.parametrize("request_", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_what_two_may_read_otherwise_ends_its_connection(request_: str, cluster: Cluster) -> None:
    one, other = (statuses(sent(url, request_ + NEXT)) for url in cluster.urls)
    assert one == other
    # What is wrong within chunks is found when the request is under way, or its body answered.
    assert len(one) == 1
    assert one[0] in (400, 501)


@pytest.mark.parametrize("where", ["extension", "trailer"])
def test_what_stands_beside_chunks_is_bounded(where: str, cluster: Cluster) -> None:
    long = "x" * 100_000
    body = f"1;{long}" if where == "extension" else f"1\r\nx\r\n0\r\nX: {long}"
    for url in cluster.urls:
        assert statuses(sent(url, f"{POST}{CHUNKED}\r\n{body}")) == [431]


def test_a_refused_document_is_not_taken_for_a_request(cluster: Cluster) -> None:
    for url in cluster.urls:
        over = head("POST", FEED, "Content-Type: text/xml", "Content-Length: 3000000")
        assert statuses(sent(url, over + NEXT)) == [413]
        assert statuses(sent(url, head("GET", DOMAIN, "Content-Length: 30") + NEXT * 3))[0] == 200


# What a path names

PATHS = [
    "/restms%2Ffeed%2Fdefault", "/restms/feed%2Fdefault", "//restms/feed/default",
    "/restms//feed/default", "/restms/feed//default", "/restms/feed/default/",
    "/restms/./feed/default", "/restms/feed/x/../default", "/restms/feed/%2e%2e/feed/default",
    "/restms/feed/default%2f", "/restms/feed/default%00", "/restms/feed/default%0d%0aX:y",
    "/restms/feed/default%5C", "/restms/feed/default%3Fx", "/restms/feed/default;x",
    "/restms/feed/%2564efault", "/restms/feed/%c1%a4efault", "/restms/feed/%e4efault",
    "/restms/feed/defa%", "/restms/feed/%u0064efault", "/restms/feed/\xe4", "/RESTMS/feed/default",
    "/restms/feed/default#x", "/..%2frestms/feed/default", "*", "/restms/feed/default%20",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_a_path_is_what_it_says_byte_by_byte(path: str, cluster: Cluster) -> None:
    for method in ("GET", "POST", "DELETE"):
        request = head(method, path, "Content-Type: text/xml", "Content-Length: 2", CLOSE)
        one, other = (statuses(sent(url, request + "{}")) for url in cluster.urls)
        assert one == other
        assert one in ([400], [404])


def test_what_is_needlessly_encoded_names_the_same(cluster: Cluster, client: Client) -> None:
    path = name(client.new_pipe())
    encoded = "".join(f"%{ord(character):02x}" for character in path)
    for url in cluster.urls:
        assert statuses(sent(url, head("GET", f"/restms/resource/{encoded}", CLOSE))) == [200]
        absolute = f"http://x/restms/resource/{path}"
        assert statuses(sent(url, head("GET", absolute, CLOSE))) == [200]


@pytest.fixture(scope="module")
def ruled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    config = tmp_path_factory.mktemp("rules") / "restms.toml"
    config.write_text(
        """
        [[domain]]
        name = "secret"
        [[domain]]
        name = "default"
        [[rule]]
        principal = "anonymous"
        verbs = ["publish"]
        domain = "default"
        feed = "open"
        [[authenticator]]
        type = "keys"
        file = "keys"
        """
    )
    (config.parent / "keys").write_text("")
    with Cluster(1, "--config", str(config)) as cluster:
        cluster.add("--no-lane")
        yield cluster


@pytest.mark.parametrize(
    "path",
    ["/restms/feed/secret%2Fdefault", "/restms/feed/open%2F..%2Fdefault", "//restms/feed/default",
     "/restms/feed/open/../default", "/restms/feed/secret/default", "/restms/feed/defaul%74",
     "/restms/feed/open%00/default"],
)  # fmt: skip
def test_no_path_leads_past_the_rules(path: str, ruled: Cluster) -> None:
    request = head("POST", path, "Content-Type: text/xml", "Content-Length: 9", CLOSE)
    for url in ruled.urls:
        assert statuses(sent(url, request + "<restms/>"))[0] in (401, 404)


def test_methods_come_in_the_first_line_only(cluster: Cluster, client: Client) -> None:
    pipe = client.new_pipe()
    path = f"/restms/resource/{name(pipe)}"
    for url in cluster.urls:
        for header in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
            assert statuses(sent(url, head("GET", path, f"{header}: DELETE", CLOSE))) == [200]
        answer = sent(url, head("TRACE", path, "X-Secret: 123", CLOSE))
        assert statuses(answer) == [403]
        assert b"123" not in answer
    assert client.send("GET", pipe).status_code == 200


# What a browser may be made to do


def test_a_foreign_host_does_not_reach_an_open_server() -> None:
    with Cluster(1, "--hosts", "node.example") as cluster:
        cluster.add("--no-lane")
        for url in cluster.urls:
            for host in ("evil.example:8080", "127.0.0.1.evil.example", "192.0.2.1"):
                for path in (DOMAIN, f"/restms/resource/p{'0' * 32}-1"):
                    answer = sent(url, head("GET", path, CLOSE, host=host))
                    assert statuses(answer) == [421]
                    assert b"restms-error: misdirected" in answer.lower()
                own = ("Origin: http://evil.example:8080", "Content-Length: 0", CLOSE)
                assert statuses(sent(url, head("POST", FEED, *own, host=host))) == [421]
                assert statuses(sent(url, head("GET", "/livez", CLOSE, host=host))) == [200]
            for host in ("localhost:1", "127.0.0.1", "[::1]:8080", "Node.Example:80"):
                assert statuses(sent(url, head("GET", DOMAIN, CLOSE, host=host))) == [200]


@pytest.mark.parametrize(
    "page",
    [("Origin: null",), ("Origin: http://evil.example",), ("Sec-Fetch-Site: cross-site",),
     ("Sec-Fetch-Site: same-site",), ("Origin: http://x.evil.example", "Sec-Fetch-Site: none")],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["text/plain", "text/xml", "application/x-www-form-urlencoded"])
def test_a_page_changes_nothing(
    page: tuple[str, ...], kind: str, cluster: Cluster, client: Client
) -> None:
    pipe = client.new_pipe()
    body = f'<restms><message address="{name(pipe)}"/></restms>'
    lines = (*page, f"Content-Type: {kind}", f"Content-Length: {len(body)}", CLOSE)
    for url in cluster.urls:
        answer = sent(url, head("POST", FEED, *lines) + body)
        assert statuses(answer) == [403]
        assert b"access-control" not in answer.lower()
        assert statuses(sent(url, head("DELETE", f"/restms/resource/{name(pipe)}-1", *page,
                                       CLOSE))) == [403]  # fmt: skip
    shown = client.send("GET", pipe, Accept="application/restms+json").json()
    assert [message.get("async") for message in shown["restms"]["pipe"][0]["message"]] == ["1"]


# What goes into an answer's head


def test_a_page_that_is_stored_runs_nowhere(client: Client) -> None:
    page = b"<script>alert(1)</script>"
    for kind in ("text/html", "image/svg+xml", "application/xhtml+xml", "text/xml; charset=utf-7"):
        staged = client.send("POST", "/restms/feed/default", page, Content_Type=f"{kind}")
        if staged.status_code != 201:  # a document, and a bad one
            assert staged.status_code == 400
            continue
        for extra in ({}, {"Range": "bytes=0-3"}):
            for node in (0, 1):
                answer = client.send("GET", staged.headers["location"], node=node, **extra)
                assert answer.headers["content-security-policy"].startswith("sandbox;")
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert answer.headers["content-type"] == kind
        client.send("DELETE", staged.headers["location"])


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\0", "\u2028", "\u560a"])
def test_no_text_becomes_a_header(end: str, client: Client) -> None:
    kind = f"text/html{end}Set-Cookie: a=b"
    documents = [
        {"message": {"content": {"type": kind, "value": "x"}}},
        {"message": {"content": {"type": "text/plain", "encoding": kind, "value": "x"}}},
    ]
    for node in (0, 1):
        for document in documents:
            answer = client.send("POST", FEED, json.dumps({"restms": document}), node=node,
                                 Content_Type="application/restms+json")  # fmt: skip
            assert answer.status_code in (400, 501)
            assert "set-cookie" not in answer.headers
        made = {"feed": {"name": f"a{end}Set-Cookie: a=b"}}
        answer = client.send("POST", DOMAIN, json.dumps({"restms": made}), node=node,
                             Content_Type="application/restms+json")  # fmt: skip
        assert answer.status_code == 400
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "value", ["a b", "<script>", "x" * 129, "\xe4", 'a"', "a\tb", "a,b", "${jndi:ldap://x}"]
)
def test_a_request_id_that_is_none_is_not_repeated(value: str, cluster: Cluster) -> None:
    for url in cluster.urls:
        for path in ("/restms/feed/nowhere", f"/restms/resource/p{'0' * 32}-x"):
            answer = sent(url, head("GET", path, f"X-Request-Id: {value}", CLOSE))
            assert statuses(answer) == [404]
            assert value.encode("latin-1") not in answer


HOSTILE = ["evil.example/x", "user@evil.example", "a b", "x:99999999", "<script>", "x" * 64, "[::1"]


def test_a_forwarded_host_counts_from_proxies_only_and_must_be_one() -> None:
    with Cluster(1, "--trusted-proxies", "127.0.0.1") as cluster, Cluster(1) as open_to_all:
        cluster.add("--no-lane")
        for url in cluster.urls:
            for value in HOSTILE:
                request = head("GET", DOMAIN, f"X-Forwarded-Host: {value}", CLOSE)
                assert statuses(sent(url, request)) == [400]
            request = head("GET", DOMAIN, "X-Forwarded-Proto: javascript", CLOSE)
            assert statuses(sent(url, request)) == [400]
            chain = "X-Forwarded-Host: evil.example, good.example"
            answer = sent(url, head("GET", DOMAIN, chain, CLOSE))
            assert b"http://good.example/restms" in answer
            assert b"evil" not in answer
        names = ("X-Forwarded-Host", "Forwarded", "X-Host", "X-Original-URL", "X-Rewrite-URL")
        lines = [f"{header}: host=evil.example" for header in names]
        with Wire(open_to_all.urls[0]) as wire:
            wire.send(head("GET", DOMAIN, *lines).encode())
            status, _, body = wire.answer()
        assert status == 200
        assert b"evil" not in body
