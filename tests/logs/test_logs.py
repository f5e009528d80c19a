"""What real nodes log of all kinds of traffic, faults among it: in both forms, at level debug."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import cbor2
import httpx
import pytest

from tests.conformance.client import Client
from tests.conformance.documents import CBOR, JSON, XML, message
from tests.conformance.streaming import CBOR_SEQ, MULTIPART, SSE
from tests.conformance.websocket import ClosedError, RefusedError, WebSocket
from tests.logs.test_lines import TIME
from tests.nodes import Cluster, Node
from tests.waiting import wait_until

FEED = "/restms/feed/logged"
HUMAN_LINE = re.compile(rf"{TIME} (?:DEBUG|INFO|WARNING|ERROR|CRITICAL) [\w.]+ .+")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A node for programs, with the lane and two workers; and one for people, without."""
    options = ("--log-level", "debug", "--access-log", "--heartbeat-seconds", "0.1")
    with Cluster(0, *options) as cluster:
        cluster.add("--log-format", "json", "--workers", "2")
        cluster.add("--log-format", "human", "--no-lane")
        yield cluster


@pytest.fixture
def client(cluster: Cluster) -> Iterator[Client]:
    with Client(cluster.urls) as client:
        yield client


def lines(node: Node) -> list[dict[str, Any]]:
    """What a node for programs has logged."""
    return [json.loads(line) for line in node.log().splitlines()]


def tour(client: Client) -> None:
    """Do all that clients do, and some of what they should not."""
    feed = client.create_feed("logged")
    private = client.create_feed("")
    for format in (XML, JSON, CBOR):
        one = client.in_format(format)
        pipe = one.create_joined(feed, "a")
        one.join(pipe, private, "b")
        one.publish(feed, *(message("a", {"value": n}) for n in "123456"))
        one.publish(private, message("b"))
        staged = one.stage(feed, b"x" * 100_000)
        one.publish(feed, message("a", {"href": staged}))
        waiting = one.get_later(one.asynclet(pipe), prefer="wait=20")
        one.consume(pipe)
        one.get(f"{pipe}?messages=10")
        for kind in (SSE, MULTIPART, CBOR_SEQ):
            with one.stream(pipe, {"accept": kind}) as answer:
                next(answer.iter_raw())
        for subprotocol in ("restms", "restms.cbor"):
            with WebSocket(one, pipe, subprotocol) as socket:
                href = socket.message()["href"]
                socket.say(acknowledge=href)
                socket.say(acknowledge=href + "9")
                socket.said()
        last = one.receive(one.messages(pipe)[-1])["content"][0]["href"]
        assert one.get(last, range="bytes=0-9").status_code == 206
        one.publish(feed, message("a"))
        assert waiting.answer().status_code == 200
        sequence = b"".join(cbor2.dumps({"address": "a"}) for _ in range(5))
        one.request("POST", feed, body=sequence, headers={"content-type": CBOR_SEQ})
        refused(one, pipe)


def refused(client: Client, pipe: str) -> None:
    """Ask for what is not there, not allowed or not understood."""
    for path in (pipe, f"{pipe}-99", f"{pipe}-1-9", pipe.replace("/p", "/j"), pipe + "x"):
        for method in ("GET", "HEAD", "DELETE", "PUT", "POST", "PATCH", "OPTIONS"):
            if (method, path) != ("DELETE", pipe):
                client.request(method, path, body=b"<", headers={"x-request-id": "faulty"})
    with suppress(RefusedError, ClosedError), WebSocket(client, f"{pipe}-1", "restms") as socket:
        socket.closed()


def no_secret(client: Client, cluster: Cluster, made: set[str]) -> None:
    """No node's log has what a private URI ends with, or most of it."""
    assert made
    log = cluster.log()
    assert [secret for secret in made if secret[:12] in log] == []


def secrets(cluster: Cluster) -> set[str]:
    """What is secret of all that is there."""
    with cluster.redis.client() as redis:
        keys = b"\n".join(redis.keys("*")).decode()
    return set(re.findall(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])", keys))


def test_no_log_has_a_private_uri_whatever_is_done(client: Client, cluster: Cluster) -> None:
    tour(client)
    no_secret(client, cluster, secrets(cluster))
    program, people = cluster.nodes
    assert {line["logger"] for line in lines(program)} >= {"restms.requests", "restms.member"}
    for line in people.log().splitlines():
        assert HUMAN_LINE.fullmatch(line)


def broken_message(client: Client, cluster: Cluster) -> str:
    """The URI of a message that somebody has spoilt in Redis."""
    feed = client.create_feed("")
    pipe = client.create_joined(feed, "x")
    client.publish(feed, message("x"))
    [uri] = client.messages(pipe)
    key = f"restms:{{default}}:pipe:{pipe.rpartition('/p')[2]}:messages"
    with cluster.redis.client() as redis:
        [(number, fields)] = redis.xrange(key)
        redis.delete(key)
        redis.xadd(key, dict.fromkeys(fields, b"\xa1gaddress"), number)
    return uri


def broken_pipe(client: Client, cluster: Cluster) -> str:
    """The URI of a message of a pipe that somebody has spoilt in Redis."""
    pipe = client.create_pipe()
    with cluster.redis.client() as redis:
        redis.set(f"restms:{{default}}:pipe:{pipe.rpartition('/p')[2]}", pipe)
    return f"{pipe}-1"


@pytest.mark.parametrize(
    ("broken", "told"),
    [(broken_message, "unexpected error"), (broken_pipe, "Redis refuses")],
)
@pytest.mark.parametrize("node", [0, 1], ids=["lane, json", "no lane, human"])
def test_a_fault_is_one_line_with_the_name_that_the_client_got(
    client: Client,
    cluster: Cluster,
    broken: Callable[[Client, Cluster], str],
    told: str,
    node: int,
) -> None:
    uri = broken(client, cluster)
    given = client.on(node).get(uri, x_request_id="a-name-of-mine", prefer="wait=0")
    made_up = client.on(node).get(uri, prefer="wait=0")
    assert (given.status_code, made_up.status_code) == (500, 500)
    for name in ("a-name-of-mine", made_up.headers["x-request-id"]):
        faults = [
            line for line in cluster.nodes[node].log().splitlines() if told in line and name in line
        ]
        assert faults
        if node == 0:
            assert {json.loads(line)["request_id"] for line in faults} == {name}
        elif told == "unexpected error":
            assert all("Traceback" in line for line in faults)
    no_secret(client, cluster, {uri.rpartition("/p")[2].partition("-")[0]})
    with cluster.redis.client() as redis:  # else the sweep would meet it for ever
        for key in redis.keys("*:pipe:*"):
            if redis.type(key) == b"string":
                redis.delete(key)


def test_each_request_has_a_line_where_it_is_asked_for(client: Client, cluster: Cluster) -> None:
    pipe = client.create_pipe()
    secret = pipe.rpartition("/p")[2]
    for node in (0, 1):
        asked = client.on(node)
        name = f"request-{node}"
        asked.get(f"{pipe}-1", x_request_id=name, prefer="wait=0")  # which is the lane's
        asked.get(pipe, x_request_id=name)
        asked.get("/livez", x_request_id=name)
        with WebSocket(asked, pipe, "restms", headers=(("X-Request-Id", name),)):
            pass
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(asked.url(f"{pipe}-1"), headers={"x-request-id": name}, timeout=0.2)

        def told(node: int = node, name: str = name) -> list[str]:
            log = cluster.nodes[node].log().splitlines()
            return [one for one in log if "restms.requests" in one and name in one]

        wait_until(lambda told=told: len(told()) == 5)
        if node == 0:
            shown = [(one["method"], one["path"], one["status"]) for one in map(json.loads, told())]
        else:
            pattern = r"restms\.requests (\S+) (\S+) (\S+) \d+\.\d{6}s 127\.0\.0\.1 - \(request"
            shown = [re.search(pattern, one).groups() for one in told()]
        p = f"/restms/resource/p{secret[:4]}…"
        none = None if node == 0 else "-"
        assert sorted((m, path, str(s)) for m, path, s in shown) == sorted(
            [
                ("GET", f"{p}-1", "204"),
                ("GET", p, "200"),
                ("GET", "/livez", "200"),
                ("GET", p, "101"),
                ("GET", f"{p}-1", str(none)),
            ]
        )


def test_workers_tell_which_they_are(cluster: Cluster) -> None:
    node = cluster.nodes[0]
    wait_until(lambda: {line.get("worker") for line in lines(node)} >= {1, 2})
    pids = {line["worker"]: line["pid"] for line in lines(node) if "worker" in line}
    assert len(set(pids.values())) == 2
    assert node.process.pid not in pids.values()
