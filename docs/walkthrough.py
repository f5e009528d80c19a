"""Run the article's scenarios on two nodes, and print the transcript as docs/walkthrough.md.

    .venv/bin/python docs/walkthrough.py > docs/walkthrough.md

It starts two nodes on one private Redis, and sends every request to the other
node than the one before. Nothing but HTTP is spoken.
"""

import base64
import http.client
import itertools
import json
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import zlib
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import trio

from restms_cluster.embedded import EmbeddedServer

XML = "application/restms+xml"
JSON = "application/restms+json"
EVENTS = "text/event-stream"
SHOWN = (
    "content-type",
    "content-range",
    "location",
    "etag",
    "last-modified",
    "preference-applied",
)
START_SECONDS = 20


def png() -> bytes:
    """Make a PNG of one red pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixel = zlib.compress(b"\x00\xff\x00\x00")
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixel) + chunk(b"IEND", b"")
    )


class Walk:
    """Sends requests to the nodes in turn and writes down what was said."""

    def __init__(self, nodes: list[str]) -> None:
        self._nodes = nodes
        self._turn = itertools.cycle(range(len(nodes)))

    def say(self, *lines: str) -> None:
        """Print prose."""
        print("\n".join(lines) + "\n")

    def send(
        self,
        method: str,
        uri: str,
        body: bytes | str = b"",
        content_type: str = "",
        accept: str = "",
        **headers: str,
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """Send a request to the next node, print it with its answer, and return the answer."""
        answer = self.exchange(self.turn(), method, uri, body, content_type, accept, **headers)
        self.show(*answer)
        return answer[1], answer[2]

    def turn(self) -> int:
        """Return which node is next."""
        return next(self._turn)

    def exchange(
        self,
        node: int,
        method: str,
        uri: str,
        body: bytes | str = b"",
        content_type: str = "",
        accept: str = "",
        **headers: str,
    ) -> tuple[str, http.client.HTTPResponse, bytes]:
        """Send a request to a node; return what was sent and what came back."""
        parts = urlsplit(uri)
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        sent = {name.title(): value for name, value in headers.items()}
        if accept:
            sent["Accept"] = accept
        if content_type:
            sent["Content-Type"] = content_type
        connection = http.client.HTTPConnection(urlsplit(self._nodes[node]).netloc, timeout=60)
        data = body.encode() if isinstance(body, str) else body
        connection.request(method, path, body=data or None, headers=sent)
        response = connection.getresponse()
        received = response.read()
        connection.close()
        lines = [f"{method} {path}          (to node {node + 1})"]
        lines += [f"{name}: {value}" for name, value in sent.items()]
        if data:
            shown = data.decode() if isinstance(body, str) else f"({len(data)} bytes)"
            lines += ["", shown]
        return "\n".join(lines), response, received

    def listen(self, uri: str, accept: str, until: bytes) -> None:
        """Print the beginning of a stream of the next node, and hang up."""
        node, path = self.turn(), urlsplit(uri).path
        connection = http.client.HTTPConnection(urlsplit(self._nodes[node]).netloc, timeout=60)
        connection.request("GET", path, headers={"Accept": accept})
        response = connection.getresponse()
        received = b""
        while until not in received:
            received += response.read1()
        self.show(f"GET {path}          (to node {node + 1})\nAccept: {accept}", response, received)
        connection.close()

    def show(self, sent: str, response: http.client.HTTPResponse, body: bytes) -> None:
        """Print a request and its answer."""
        print("```http")
        print(sent)
        print("```")
        print("```http")
        print(f"HTTP/1.1 {response.status} {response.reason}")
        for name, value in response.getheaders():
            if name.lower() in SHOWN:
                print(f"{name.title()}: {value}")
        text = _text(response.getheader("content-type", ""), body)
        if text:
            print(f"\n{text}")
        print("```\n")


def _text(content_type: str, body: bytes) -> str:
    if content_type == JSON:
        return json.dumps(json.loads(body), indent=2)
    if content_type.startswith(("text/", XML)):
        return body.decode().rstrip()
    return f"({len(body)} bytes)" if body else ""


def asynclet(document: bytes) -> str:
    """Find the URI of the message that will come next in a pipe's description."""
    found = re.search(rb'<message\b[^>]*async="1"[^>]*>', document)
    href = re.search(rb'href="([^"]+)"', found[0] if found else b"")
    if href is None:
        raise SystemExit("the pipe has no asynclet")
    return href[1].decode()


def new_pipe(walk: Walk, title: str) -> tuple[str, str]:
    """Create a pipe; return its URI and its name."""
    body = f'<restms><pipe type="fifo" title="{title}"/></restms>'
    answer, _ = walk.send("POST", "/restms/domain/default", body, XML, XML)
    uri = answer.getheader("location", "")
    return uri, uri.rpartition("/")[2]


def telnet(walk: Walk, node: str) -> None:
    """The article's first request, typed by hand over HTTP/1.0."""
    walk.say(
        "## A request typed by hand", "", "`telnet`, HTTP/1.0, no Host: the article's own example."
    )
    host, port = urlsplit(node).netloc.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"GET /restms/domain/default HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    print("```http\nGET /restms/domain/default HTTP/1.0\n```\n```http")
    print(answer.decode().replace("\r\n", "\n").rstrip())
    print("```\n")


def by_address(walk: Walk) -> None:
    """Parrot: one message to every pipe that is joined at its address."""
    walk.say(
        "## Publish and subscribe, by address",
        "",
        "A feed, and two pipes that want the weather of Oslo.",
    )
    feed = '<restms><feed name="weather" title="Weather reports"/></restms>'
    walk.send("POST", "/restms/domain/default", feed, XML, XML)
    pipes = []
    for title in ("first reader", "second reader"):
        pipe, _ = new_pipe(walk, title)
        join = '<restms><join address="oslo" feed="/restms/feed/weather"/></restms>'
        walk.send("POST", pipe, join, XML, XML)
        _, document = walk.send("GET", pipe, accept=XML)
        pipes.append(asynclet(document))
    walk.say("Both wait on their asynclets, on different nodes. Then a message is posted.")
    answers: dict[int, tuple[str, http.client.HTTPResponse, bytes]] = {}

    def wait(reader: int, node: int) -> None:
        answers[reader] = walk.exchange(node, "GET", pipes[reader], accept=XML)

    readers = range(len(pipes))
    threads = [threading.Thread(target=wait, args=(each, walk.turn())) for each in readers]
    for thread in threads:
        thread.start()
    message = (
        '<restms><message address="oslo" message_id="42">'
        '<content type="text/plain">Rain, 7 degrees</content></message></restms>'
    )
    walk.send("POST", "/restms/feed/weather", message, XML, XML)
    for thread in threads:
        thread.join()
    walk.say("It reached two joins. What the readers were waiting for:")
    for reader in range(len(pipes)):
        walk.show(*answers[reader])
    walk.say("The first reader is done with it; reading it again finds nothing.")
    walk.send("DELETE", pipes[0])
    walk.send("GET", pipes[0], accept=XML)


def request_reply(walk: Walk) -> None:
    """Housecat both ways: the answer goes to the pipe that reply_to names."""
    walk.say("## Request and reply", "", "A service and a client, each with a pipe.")
    service, service_name = new_pipe(walk, "fortune service")
    client, client_name = new_pipe(walk, "client")
    request = (
        f'<restms><message address="{service_name}" reply_to="{client_name}" '
        'message_id="1"><content>Tell me my fortune</content></message></restms>'
    )
    walk.say("The client posts to the feed `default`, with the service's pipe name as the address.")
    walk.send("POST", "/restms/feed/default", request, XML, XML)
    walk.send("GET", f"{service}-1", accept=XML)
    walk.say("The service posts its answer to the address that `reply_to` gave.")
    reply = (
        f'<restms><message address="{client_name}" correlation_id="1">'
        "<content>You will meet a queue</content></message></restms>"
    )
    walk.send("POST", "/restms/feed/default", reply, XML, XML)
    walk.send("GET", f"{client}-1", accept=XML)
    walk.send("DELETE", f"{service}-1")
    walk.send("DELETE", f"{client}-1")


def topics(walk: Walk) -> None:
    """Parrot: news by category, for a reader who wants a part of them."""
    walk.say("## Publish and subscribe, by topic", "", "A topic feed, and who likes pets.")
    feed = '<restms><feed name="news" type="topic"/></restms>'
    walk.send("POST", "/restms/domain/default", feed, XML, XML)
    pipe, _ = new_pipe(walk, "reader")
    join = '<restms><join address="rec.pets.*" feed="/restms/feed/news"/></restms>'
    walk.send("POST", pipe, join, XML, XML)
    walk.say("Three articles in one request. Such feeds answer with an empty body.")
    articles = "".join(
        f'<message address="{address}"><content>{text}</content></message>\n'
        for address, text in (
            ("rec.pets.dogs", "Canine Championship series opens"),
            ("rec.cars", "The oil shock: does it affect you?"),
            ("rec.pets.cats", "Cat vs. dog: facts or fictions?"),
        )
    )
    walk.send("POST", "/restms/feed/news", f"<restms>\n{articles}</restms>", XML, XML)
    walk.send("GET", pipe, accept=XML)


def service(walk: Walk) -> None:
    """Wolfpack and Wolf Call: workers who share requests, and are there or not."""
    walk.say("## A service that workers share", "", "Is there somebody to ask? Not yet.")
    walk.send("GET", "/restms/feed/fortune", accept=XML)
    walk.say("A worker makes the service. Its pipe takes one request at a time.")
    feed = '<restms><feed name="fortune" type="service"/></restms>'
    walk.send("POST", "/restms/domain/default", feed, XML, XML)
    pipe = '<restms><pipe type="ondemand"/></restms>'
    join = '<restms><join feed="/restms/feed/fortune"/></restms>'
    workers = []
    for _ in range(2):
        answer, _ = walk.send("POST", "/restms/domain/default", pipe, XML, XML)
        workers.append(answer.getheader("location", ""))
        walk.send("POST", workers[-1], join, XML, XML)
    walk.say("A client asks, and says where the answer is to go.")
    client, name = new_pipe(walk, "client")
    request = f'<restms><message reply_to="{name}"><content>Tell me</content></message></restms>'
    walk.send("POST", "/restms/feed/fortune", request, XML, XML)
    walk.say("The first worker takes the request, and dies. When its pipe goes, another has it.")
    walk.send("GET", f"{workers[0]}-1", accept=XML)
    walk.send("DELETE", workers[0])
    walk.send("GET", f"{workers[1]}-1", accept=XML)
    reply = f'<restms><message address="{name}"><content>A queue</content></message></restms>'
    walk.send("POST", "/restms/feed/default", reply, XML, XML)
    walk.send("DELETE", f"{workers[1]}-1")
    walk.send("GET", f"{client}-1", accept=XML)
    walk.say("With its last worker the service goes.")
    walk.send("DELETE", workers[1])
    walk.send("GET", "/restms/feed/fortune", accept=XML)


def contents(walk: Walk) -> None:
    """One message with a text, base64 and a staged PNG, for two kinds of client."""
    walk.say("## Contents, and two representations of one pipe", "", "A picture is staged first.")
    pipe, name = new_pipe(walk, "gallery")
    answer, _ = walk.send("POST", "/restms/feed/default", png(), "image/png")
    staged = answer.getheader("location", "")
    data = base64.b64encode(bytes(range(8))).decode()
    message = {
        "restms": {
            "message": [
                {
                    "address": name,
                    "header": [{"name": "album", "value": "red"}],
                    "content": [
                        {"type": "text/plain", "encoding": "plain", "value": "One red pixel"},
                        {"type": "application/octet-stream", "encoding": "base64", "value": data},
                        {"href": staged},
                    ],
                }
            ]
        }
    }
    walk.say("A client that speaks JSON publishes a message with all three kinds of content.")
    walk.send("POST", "/restms/feed/default", json.dumps(message, indent=2), JSON, JSON)
    walk.say("A client that speaks XML reads the pipe and the message,")
    walk.send("GET", pipe, accept=XML)
    walk.send("GET", f"{pipe}-1", accept=XML)
    walk.say("and one that speaks JSON reads the same.")
    walk.send("GET", f"{pipe}-1", accept=JSON)
    walk.say("The picture by itself, as it was published:")
    answer, data_back = walk.send("GET", f"{pipe}-1-3")
    if data_back != png():
        raise SystemExit("the picture came back changed")
    walk.say("A staged content is published once: naming it again is refused.")
    walk.send("POST", "/restms/feed/default", json.dumps(message), JSON, JSON)
    walk.send("DELETE", f"{pipe}-1")


def large_content(walk: Walk) -> None:
    """A content that does not come with its message, read in part."""
    walk.say("## A large content", "", "It is staged like any other, and can have any size.")
    pipe, name = new_pipe(walk, "cinema")
    film = bytes(range(256)) * 12_000
    answer, _ = walk.send("POST", "/restms/feed/default", film, "video/mp4")
    staged = answer.getheader("location", "")
    message = f'<restms><message address="{name}"><content href="{staged}"/></message></restms>'
    walk.send("POST", "/restms/feed/default", message, XML, XML)
    walk.say("Its reader is told where it is, and how long,")
    walk.send("GET", f"{pipe}-1", accept=XML)
    walk.say("and may read all of it, or a part.")
    _, part = walk.send("GET", f"{pipe}-1-1", range="bytes=1000000-1000099")
    if part != film[1_000_000:1_000_100]:
        raise SystemExit("the part is not what was published")
    walk.say("It goes with its message.")
    walk.send("DELETE", f"{pipe}-1")
    walk.send("GET", f"{pipe}-1-1")


def volume(walk: Walk) -> None:
    """Many messages in one answer, and all of them in an endless one."""
    walk.say("## In volume", "", "Three messages wait in a pipe.")
    pipe, name = new_pipe(walk, "busy reader")
    messages = "".join(
        f'<message address="{name}"><content>{text}</content></message>\n'
        for text in ("one", "two", "three")
    )
    walk.send("POST", "/restms/feed/default", f"<restms>\n{messages}</restms>", XML, XML)
    walk.say("Two of them in one answer; one DELETE of the last acknowledges both.")
    walk.send("GET", f"{pipe}?messages=2", accept=XML)
    walk.send("DELETE", f"{pipe}-2")
    walk.say(
        "An endless answer has the messages that are there, and then each as it comes. The",
        "reader hangs up after the first one here. To try it: `curl -N` with this `Accept`.",
    )
    walk.listen(pipe, EVENTS, b"}\n\n")
    walk.say("It was not acknowledged, so it is there for the next stream, on whatever node.")
    walk.listen(pipe, EVENTS, b"}\n\n")
    walk.send("DELETE", f"{pipe}-3")


def start_node(stack: ExitStack, redis: str) -> str:
    """Start a node and return its URL."""
    command = [
        sys.executable,
        "-m",
        "restms_node",
        "serve",
        "--bind",
        "127.0.0.1:0",
        "--redis",
        redis,
    ]
    process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    stack.callback(process.terminate)
    line = process.stdout.readline() if process.stdout else ""
    found = re.search(r"http://\S+:\d+", line)
    if found is None:
        raise SystemExit("a node did not start")
    return found[0]


def walk_through(redis: str) -> None:
    """Run all scenarios on two nodes."""
    with ExitStack() as stack:
        nodes = [start_node(stack, redis) for _ in range(2)]
        walk = Walk(nodes)
        walk.say(
            "# A walk through RestMS",
            "",
            "Two nodes share one Redis; each request goes to the other node than the one",
            "before. Made by `docs/walkthrough.py`; ports, hashes and dates are new",
            "each time.",
        )
        telnet(walk, nodes[0])
        by_address(walk)
        request_reply(walk)
        topics(walk)
        service(walk)
        contents(walk)
        large_content(walk)
        volume(walk)


async def main() -> None:
    """Start a private Redis, and walk."""
    with tempfile.TemporaryDirectory() as folder:
        async with trio.open_nursery() as nursery:
            redis = await nursery.start(EmbeddedServer(Path(folder)).run)
            await trio.to_thread.run_sync(walk_through, redis)
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
