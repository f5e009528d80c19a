"""A client that any node may answer, in any format, and whose answers may get lost."""

import base64
import itertools
import select
import threading
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import httpx

from tests.conformance import documents
from tests.conformance.client import expect
from tests.conformance.documents import CBOR, JSON, XML, Element, restms
from tests.conformance.wire import Wire
from tests.model.worlds import Answer, Item, Listing, Message
from tests.nodes import Cluster, Node

FORMATS = (XML, JSON, CBOR)
SECONDS = 20.0

Staged = Mapping[str, Sequence[str]]
"""By message_id, the URIs of its contents, where they were staged ahead."""


class Client:
    """Sends each request to the next living node, in the next format."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.dead: Node | None = None
        self._turns = itertools.count()
        self._lock = threading.Lock()
        self._http = {node.url: httpx.Client(timeout=SECONDS) for node in cluster.nodes}

    def close(self) -> None:
        for one in self._http.values():
            one.close()

    # Nodes

    def node(self) -> Node:
        """The next node in turn that lives."""
        alive = [node for node in self.cluster.nodes if node is not self.dead]
        return alive[next(self._turns) % len(alive)]

    def kill(self, node: Node) -> None:
        """Kill a node, and start another in its place, which takes a moment."""
        node.kill()
        self._http[node.url].close()
        self.dead = node
        node.spawn()

    def revive(self) -> None:
        """From now on the node that was started is asked as well."""
        if self.dead is not None:
            self._http[self.dead.url] = httpx.Client(timeout=SECONDS)
            self.dead.await_url()
            self.dead = None

    # Requests

    def send(
        self,
        method: str,
        uri: str,
        tree: Element | None = None,
        body: bytes | None = None,
        node: Node | None = None,
        **headers: str,
    ) -> httpx.Response:
        """Send a request, with a document or with any other body."""
        with self._lock:
            url = (node or self.node()).url
            format = FORMATS[next(self._turns) // 2 % len(FORMATS)]
        given = {"accept": format.media_type}
        if tree is not None:
            body, given["content-type"] = format.write(tree), format.media_type
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self._http[url].request(method, url + path(uri), content=body, headers=given)

    def cut(
        self,
        method: str,
        uri: str,
        tree: Element | None = None,
        *,
        node: Node,
        patience: float = 0.0,
        **headers: str,
    ) -> Wire:
        """Send a request and do not read the answer, but wait for it so many seconds."""
        body = JSON.write(tree) if tree is not None else b""
        wire = Wire(node.url)
        wire.send(
            wire.request(method, path(uri), body, **{"content-type": JSON.media_type, **headers})
        )
        select.select([wire._socket], [], [], patience)
        return wire

    def lose(self, *request: object, **how: object) -> None:
        """Send a request, and be gone before its answer."""
        with self.cut(*request, **how):  # type: ignore[arg-type]
            pass

    def document(self, answer: httpx.Response) -> Element:
        """Return what stands in the root element of an answer's document."""
        kind = answer.headers["content-type"].partition(";")[0]
        (format,) = (one for one in FORMATS if one.media_type == kind)
        return format.read(answer.content)["restms"]

    def create(self, uri: str, **children: list[Element]) -> str:
        return str(expect(self.send("POST", uri, restms(**children)), 201).headers["location"])

    # Messages

    def stage(self, uri: str, messages: Sequence[Message]) -> Staged:
        """Stage all contents of some messages."""
        return {
            message.id: [
                expect(self.send("POST", uri, body=data, content_type=kind), 201).headers[
                    "location"
                ]
                for kind, data in message.contents
            ]
            for message in messages
        }

    def answered(self, answer: httpx.Response) -> Answer:
        """What a publish was answered with."""
        expect(answer, 200, 404, 503)
        if answer.status_code != 200:
            return Answer(answer.status_code)
        full = int(answer.headers.get("restms-full", "0"))
        if not answer.content:
            return Answer(200, None, full)
        routed = self.document(answer)["message"]
        assert full == sum(int(one.get("full", "0")) for one in routed)
        return Answer(200, tuple(int(one["count"]) for one in routed), full)

    def listing(self, uri: str) -> Listing | None:
        """What a pipe shows, or None where it is gone."""
        answer = expect(self.send("GET", uri), 200, 404)
        if answer.status_code == 404:
            return None
        *listed, following = self.document(answer)["pipe"][0]["message"]
        assert following["async"] == "1"
        return [(number_of(m["href"]), m["message_id"]) for m in listed], number_of(
            following["href"]
        )

    def check(self, element: Element, item: Item) -> None:
        """Compare a message as it was read with what was posted."""
        message = item.message
        assert element.get("message_id") == message.id
        assert element.get("address", "") == message.address
        assert element.get("priority", "0") == str(message.priority)
        assert element.get("redelivered") == ("1" if item.returns else None)
        headers = tuple((one["name"], one["value"]) for one in element.get("header", ()))
        assert headers == message.headers
        contents = element.get("content", ())
        assert len(contents) == len(message.contents)
        for content, (kind, data) in zip(contents, message.contents, strict=True):
            assert content["type"] == kind
            if "href" in content:
                assert int(content["length"]) == len(data)
                read = expect(self.send("GET", content["href"], accept="*/*"), 200)
                assert read.headers["content-type"].partition(";")[0] == kind
                assert read.content == data
            else:
                assert documents.data_of(content) == data


def message_tree(messages: Sequence[Message], staged: Staged) -> Element:
    """Make the document that posts messages."""
    made = []
    for message in messages:
        uris = staged.get(message.id)
        if uris is None:
            contents = [_content(kind, data) for kind, data in message.contents]
        else:
            contents = [documents.staged(uri) for uri in uris]
        properties = {"priority": str(message.priority)} if message.priority else {}
        element = documents.message(
            message.address, *contents, message_id=message.id, header=message.headers, **properties
        )
        made.append(element)
    return restms(message=made)


def _content(kind: str, data: bytes) -> Element:
    if kind == "text/plain":
        return documents.text(data.decode())
    return {"type": kind, "encoding": "base64", "value": base64.b64encode(data).decode()}


def path(uri: str) -> str:
    parts = urlsplit(uri)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def number_of(uri: str) -> int:
    return int(uri.rpartition("-")[2])
