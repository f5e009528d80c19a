"""The lane and Hypercorn answer alike, and one connection goes from one to the other."""

import http.client
import re
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.end_to_end.conftest import XML, Client, name
from tests.nodes import Cluster

LANE, HYPERCORN = 0, 1
MESSAGE = '<restms><message address="{}"><content>{}</content></message></restms>'
Answered = tuple[int, list[tuple[str, str]], bytes]


@pytest.fixture
def connections(cluster: Cluster) -> Iterator[list[http.client.HTTPConnection]]:
    """A connection to the node that has the lane, and one to the node that has not."""
    both = [http.client.HTTPConnection(urlsplit(url).netloc, timeout=20) for url in cluster.urls]
    yield both
    for one in both:
        one.close()


def ask(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: str | None = None,
    **headers: str,
) -> Answered:
    """Send a request; return what was answered, whenever and by whatever host."""
    named = {key.replace("_", "-"): value for key, value in {**XML, **headers}.items()}
    connection.request(method, path, body, {**named, "Host": "node.example", "X-Request-Id": "r"})
    answer = connection.getresponse()
    kept = [(key.lower(), value) for key, value in answer.getheaders() if key != "date"]
    assert answer.headers["date"]
    return answer.status, kept, answer.read()


def same(connections: list[http.client.HTTPConnection], *request: str, **headers: str) -> Answered:
    """Ask both, and return what both have answered."""
    by_lane, by_hypercorn = (ask(one, *request, **headers) for one in connections)
    assert by_lane[0] == by_hypercorn[0]
    assert sorted(by_lane[1]) == sorted(by_hypercorn[1])
    assert by_lane[2] == by_hypercorn[2]
    return by_lane


def test_both_ways_have_the_same_answers(
    client: Client, connections: list[http.client.HTTPConnection]
) -> None:
    pipe = name(client.new_pipe())
    feed, message = "/restms/feed/default", f"/restms/resource/{pipe}-1"
    publish = MESSAGE.format(pipe, "hello")
    for media_type in ("text/xml", "application/restms+json", "application/restms+cbor"):
        assert same(connections, "POST", feed, publish, Accept=media_type)[0] == 200
        assert same(connections, "GET", message, Accept=media_type)[0] == 200
    assert same(connections, "POST", feed, publish, Prefer="return=minimal")[0] == 200
    assert same(connections, "POST", feed, "<oops")[0] == 400
    assert same(connections, "POST", feed, "")[0] == 400
    assert same(connections, "POST", feed, "x" * 3_000_000)[0] == 413
    assert same(connections, "POST", feed, publish, Accept="text/html")[0] == 501
    assert same(connections, "POST", "/restms/feed/nowhere", publish)[0] == 404
    tag = dict(same(connections, "GET", message)[1])["etag"]
    assert same(connections, "GET", message, If_None_Match=tag)[0] == 304
    assert same(connections, "GET", message, Prefer="wait=3")[0] == 200
    assert same(connections, "GET", message, When_None_Match=tag, Prefer="wait=0")[0] == 204
    assert same(connections, "GET", message, When_Modified_After="yesterday")[0] == 400
    assert same(connections, "GET", f"/restms/resource/{pipe}-100")[0] == 404
    assert same(connections, "GET", message, Connection="close")[0] == 200
    assert same(connections, "DELETE", message, If_Match='"1-x"')[0] == 412
    assert same(connections, "DELETE", message)[0] == 200
    assert same(connections, "GET", message)[0] == 404


def test_a_connection_goes_over_to_hypercorn_and_stays_there(
    client: Client, connections: list[http.client.HTTPConnection]
) -> None:
    connection = connections[LANE]
    pipe = name(client.new_pipe())
    publish = MESSAGE.format(pipe, "hello")
    assert ask(connection, "POST", "/restms/feed/default", publish)[0] == 200
    socket = connection.sock
    staged = ask(connection, "POST", "/restms/feed/default", "bytes", Content_Type="a/b")
    assert staged[0] == 201
    assert ask(connection, "GET", f"/restms/resource/{pipe}")[0] == 200
    content = f'<content href="{dict(staged[1])["location"]}"/>'
    publish = re.sub("<content.*</content>", content, publish)
    assert ask(connection, "POST", "/restms/feed/default", publish)[0] == 200
    assert b'type="a/b"' in ask(connection, "GET", f"/restms/resource/{pipe}-2")[2]
    assert connection.sock is socket


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
UPGRADE = (
    b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    b"Upgrade: h2c\r\nHTTP2-Settings: AAAA\r\n\r\n"
)


def test_http_2_is_not_spoken(cluster: Cluster) -> None:
    # Neither by prior knowledge nor by an upgrade, which is overlooked.
    for url in cluster.urls:
        host, port = url.removeprefix("http://").split(":")
        for sent, status in ((PREFACE, 400), (UPGRADE, 200)):
            with socket.create_connection((host, int(port)), timeout=10) as connection:
                connection.sendall(sent)
                answer = http.client.HTTPResponse(connection)
                answer.begin()
                assert (answer.status, answer.getheader("upgrade")) == (status, None)


def test_a_query_does_not_make_a_delete_mean_more(client: Client) -> None:
    pipe = client.new_pipe()
    for uri in (f"{pipe}?messages=2", f"{pipe}-1?messages=2"):
        assert client.send("DELETE", uri).status_code == 400
    assert client.send("GET", pipe).status_code == 200
