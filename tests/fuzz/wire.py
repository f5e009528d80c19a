"""Bytes to the sockets of real nodes, with the lane and without: requests that are nearly right.

A node may answer, with less than 500 or with what it says of itself (501, 503), or
close. It must not die, hang, tell of its insides, or keep anything of whoever has gone.
"""

import re
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import httpx

from tests.fuzz.mutations import inputs
from tests.fuzz.seeds import SEEDS
from tests.nodes import Cluster, Node

DOMAIN, FEED = "/restms/domain/default", "/restms/feed/fuzzed"
OPTIONS = ("--body-seconds", "1", "--wait-seconds", "1", "--drain-seconds", "2")
ANSWERED_SECONDS = 10.0
PROMPT_SECONDS = 3.0  # on a busy machine
QUIET_SECONDS = 0.05
REFUSALS = {b"500", b"502", b"504", b"505"}
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})")


def seeds(urls: Sequence[str]) -> tuple[bytes, ...]:
    """Make what the requests are about, and return good ones."""
    http = httpx.Client(base_url=urls[0], timeout=ANSWERED_SECONDS)
    kind = {"Content-Type": "text/xml"}
    with http:
        http.post(
            DOMAIN, content='<restms><feed name="fuzzed" type="topic"/></restms>', headers=kind
        )
        made = http.post(DOMAIN, content="<restms><pipe/></restms>", headers=kind)
        pipe = httpx.URL(made.headers["location"]).path
        join = f'<restms><join feed="{FEED}" address="#"/></restms>'
        http.post(pipe, content=join, headers=kind)
        staged = http.post(FEED, content=b"bytes", headers={"Content-Type": "a/b"})
        content = httpx.URL(staged.headers["location"]).path
    pattern = f'<restms><join feed="{FEED}" address="*.#.a.#.*.#"/></restms>'.encode()
    json, cbor = SEEDS["json"][3], SEEDS["sealed"][2]
    good = [
        _request("POST", FEED, SEEDS["xml"][3], "Content-Type: text/xml"),
        _request(
            "POST", FEED, json, "Content-Type: application/restms+json", "Prefer: return=minimal"
        ),
        _request("POST", FEED, cbor, "Content-Type: application/restms+cbor", "Idempotency-Key: a"),
        _request("POST", FEED, SEEDS["sequence"][0], "Content-Type: application/cbor-seq"),
        _request("POST", FEED, b"bytes", "Content-Type: image/png", "Expect: 100-continue"),
        _request("POST", FEED, SEEDS["codings"][0], "Content-Type: a/b", "Content-Encoding: gzip"),
        _request("POST", DOMAIN, SEEDS["xml"][0], "Content-Type: text/xml", "Origin: http://a"),
        _request("POST", pipe, pattern, "Content-Type: text/xml"),
        _request("PUT", pipe, SEEDS["xml"][1], 'If-Match: "1-t"', "Content-Type: text/xml"),
        _request("GET", pipe, b"", "Accept: text/event-stream", "Last-Event-ID: x"),
        _request("GET", pipe, b"", "Accept: multipart/mixed, */*;q=0.1"),
        _request("GET", f"{pipe}?messages=5", b"", "Prefer: wait=0"),
        _request("GET", f"{pipe}-1", b"", "Prefer: wait=0", 'When-None-Match: "1-t"'),
        _request("DELETE", f"{pipe}-1", b"", 'If-Match: "1-t", *'),
        _request("GET", content, b"", "Range: bytes=1-2", 'If-Range: "x"'),
        _request("GET", DOMAIN, b"", "Accept-Encoding: zstd, gzip;q=0.5", "X-Forwarded-Host: b"),
        _request("OPTIONS", "/openapi.json", b"", "Origin: null"),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0" * 3,
        _request("POST", FEED, b"", "Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n",
        f"GET {pipe} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Protocol: restms\r\n\r\n".encode()
        + b"\x81\x82\0\0\0\0{}",
    ]
    return (*good, good[0] + good[11] + good[13], good[12] * 5 + good[15])


def check(data: bytes, node: Node, *, cut: bool = False) -> None:
    """Send bytes, read what comes; AssertionError where that is not as it should be."""
    host, _, port = node.url.removeprefix("http://").partition(":")
    answer = b""
    with socket.create_connection((host, int(port)), timeout=ANSWERED_SECONDS) as connection:
        try:
            connection.sendall(data)
            connection.settimeout(QUIET_SECONDS)
            while not cut and (some := connection.recv(65536)):
                answer += some
        except (ConnectionError, TimeoutError):
            pass  # it was closed upon, or waits for more
    statuses = set(_STATUS.findall(answer))
    assert not statuses & REFUSALS, answer[:300]
    assert b"Traceback" not in answer, answer[:300]
    assert node.process.poll() is None, "the node has died"


def state(node: Node) -> tuple[int, int]:
    """Return how many files a node has open, and how much memory it holds, in KiB."""
    process = Path(f"/proc/{node.process.pid}")
    found = re.search(r"VmRSS:\s+([0-9]+)", (process / "status").read_text())
    return len(list((process / "fd").iterdir())), int(found[1]) if found else 0


def serves(node: Node) -> None:
    """A good request is answered at once, whatever went before."""
    started = time.monotonic()
    answer = httpx.get(f"{node.url}{DOMAIN}", timeout=ANSWERED_SECONDS)
    assert answer.status_code == 200, answer.text
    assert time.monotonic() - started < PROMPT_SECONDS, "a good request had to wait"


def cases(random: Random, good: Sequence[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Yield what to send, and whether to hang up then."""
    for data in inputs(random, good):
        yield data, random.random() < 0.1


def fuzz(seconds: float, seed: int) -> bool:
    """Fuzz two nodes for a while; tell whether something was found."""
    from tests.fuzz.__main__ import kept

    count, end = 0, time.monotonic() + seconds
    with Cluster(1, *OPTIONS) as cluster:
        cluster.add("--no-lane")
        before = [state(node) for node in cluster.nodes]
        for data, cut in cases(Random(seed), seeds(cluster.urls)):
            node = cluster.nodes[count % 2]
            count += 1
            try:
                check(data, node, cut=cut)
                if count % 20 < 2:
                    serves(node)
            except (AssertionError, httpx.HTTPError) as error:
                print(
                    f"wire: {error} on {kept('wire', data)} at {node.name}\n{cluster.log()[-3000:]}"
                )
                return True
            if time.monotonic() > end:
                break
        at_rest(cluster, before)
        faults = [line for line in cluster.log().splitlines() if "unexpected error" in line]
        print(f"wire: {count} inputs, {len(faults)} unexpected errors in the logs", flush=True)
        return bool(faults)


def at_rest(cluster: Cluster, before: Sequence[tuple[int, int]]) -> None:
    """Wait until the nodes have no more files open than before; else AssertionError."""
    deadline = time.monotonic() + 15
    for node, (files, _) in zip(cluster.nodes, before, strict=True):
        while state(node)[0] > files + 3:  # connections to Redis come and go
            assert time.monotonic() < deadline, f"{node.name} has {state(node)[0]} files open"
            time.sleep(0.1)


def _request(method: str, path: str, body: bytes, *headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: a", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
