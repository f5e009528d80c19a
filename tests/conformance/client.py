"""A small RestMS client, as the conformance suite uses it.

with Client(["http://127.0.0.1:8080"]) as broker:
    news = broker.create_feed("news")
    pipe = broker.create_pipe()
    broker.join(pipe, news, "sports")
    broker.publish(news, message("sports", text("Two to one")))
    uri = broker.messages(pipe)[0]
    print(data_of(broker.receive(uri)["content"][0]))
    broker.acknowledge(uri)

Several URLs are the nodes of one cluster: each request goes to the next one,
so whatever one node made is used, and completed, on another.
"""

import itertools
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from contextlib import AbstractContextManager
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from tests.conformance.documents import XML, Element, Format, restms

DOMAIN = "/restms/domain/default"
DEFAULT_FEED = "/restms/feed/default"
BOUND_SECONDS = 15.0  # no answer of the suite takes as long
PROMPT_SECONDS = 3.0  # sooner than a server that was told of nothing would look by itself


def unique(name: str) -> str:
    """Return a name that no other test, on whatever server, has used."""
    return f"{name}-{secrets.token_hex(4)}"


class Later:
    """An answer that a waiting request will get."""

    def __init__(self, future: "Future[httpx.Response]") -> None:
        self._future = future

    def waits(self, seconds: float = 0.15) -> bool:
        """Tell whether there is still no answer after so long."""
        try:
            self._future.exception(seconds)
        except NotYet:
            return True
        return False

    def answer(self) -> httpx.Response:
        """Return the answer; an error if it does not come promptly."""
        return self._future.result(PROMPT_SECONDS)


class Client:
    """Speaks RestMS in one format to the nodes of one cluster, in turn."""

    def __init__(self, urls: Sequence[str], format: Format = XML) -> None:
        self.urls = list(urls)
        self.format = format
        self._turns: Iterator[str] = itertools.cycle(urls)
        self._http = httpx.Client(timeout=BOUND_SECONDS)
        del self._http.headers["accept"]
        self._threads = ThreadPoolExecutor(max_workers=16)
        self._made: list[str] = []

    def in_format(self, format: Format) -> "Client":
        """Return this client, speaking another format."""
        return self._changed(format=format)

    def on(self, node: int) -> "Client":
        """Return this client, speaking to one node only."""
        return self._changed(_turns=itertools.cycle([self.urls[node % len(self.urls)]]))

    # HTTP

    def request(
        self,
        method: str,
        uri: str,
        document: Element | None = None,
        *,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Send a request to the next node; of an absolute URI only the path counts."""
        given = {"accept": self.format.media_type}
        if document is not None:
            given["content-type"] = self.format.media_type
            body = self.format.write(document)
        given.update({name.lower(): value for name, value in (headers or {}).items()})
        url = next(self._turns) + _path(uri)
        return self._http.request(
            method, url, content=body, headers={k: v for k, v in given.items() if v}
        )

    def url(self, uri: str) -> str:
        """Return where the next node has a resource."""
        return next(self._turns) + _path(uri)

    def stream(
        self, uri: str, headers: Mapping[str, str]
    ) -> AbstractContextManager[httpx.Response]:
        """Send a GET to the next node, whose answer is read as it comes inside `with`."""
        return self._http.stream("GET", self.url(uri), headers=headers)

    def get(self, uri: str, **headers: str) -> httpx.Response:
        """GET; headers are given as `if_none_match=…`, an empty one is not sent."""
        return self.request("GET", uri, headers=_headers(headers))

    def head(self, uri: str, **headers: str) -> httpx.Response:
        return self.request("HEAD", uri, headers=_headers(headers))

    def options(self, uri: str, **headers: str) -> httpx.Response:
        return self.request("OPTIONS", uri, headers=_headers(headers))

    def delete(self, uri: str, **headers: str) -> httpx.Response:
        return self.request("DELETE", uri, headers=_headers(headers))

    def put(self, uri: str, document: Element | None = None, **headers: str) -> httpx.Response:
        return self.request("PUT", uri, document, headers=_headers(headers))

    def post(self, uri: str, document: Element | None = None, **headers: str) -> httpx.Response:
        response = self.request("POST", uri, document, headers=_headers(headers))
        if response.status_code == 201:
            self._made.append(response.headers["Location"])
        return response

    def get_later(self, uri: str, **headers: str) -> Later:
        """Send a GET that may wait, and go on."""
        return Later(self._threads.submit(self.get, uri, **headers))

    def put_later(self, uri: str, document: Element, **headers: str) -> Later:
        return Later(self._threads.submit(self.put, uri, document, **headers))

    # Feeds, pipes and joins

    def create_feed(self, name: str = "", type: str = "", **properties: str) -> str:
        """Make a feed, a private one without a name; return its URI."""
        feed = {"type": type, **({"name": name} if name else {}), **properties}
        return self._location(self.post(DOMAIN, restms(feed=[feed])))

    def create_pipe(self, **properties: str) -> str:
        """Make a pipe; return its URI."""
        return self._location(self.post(DOMAIN, restms(pipe=[properties])))

    def join(self, pipe: str, feed: str, address: str = "", **properties: Any) -> str:
        """Join a pipe to a feed at an address; return the join's URI."""
        join = {"feed": feed, "address": address, **properties}
        return self._location(self.post(pipe, restms(join=[join])))

    def create_joined(self, feed: str, address: str = "", type: str = "", **properties: Any) -> str:
        """Make a pipe of a type that is joined to a feed; return the pipe's URI."""
        pipe = self.create_pipe(type=type)
        self.join(pipe, feed, address, **properties)
        return pipe

    def read(self, uri: str) -> Element:
        """Return a resource's description."""
        response = expect(self.get(uri), 200)
        (children,) = self.document(response).values()
        return children[0]

    def document(self, response: httpx.Response) -> Element:
        """Return what stands in the root element of an answer's document."""
        assert response.headers["Content-Type"].partition(";")[0] == self.format.media_type
        return self.format.read(response.content)["restms"]

    # Messages

    def stage(self, feed: str, data: bytes, media_type: str = "application/octet-stream") -> str:
        """Post a content ahead of the message that will carry it; return its URI."""
        headers = {"content-type": media_type, "accept": ""}
        response = self.request("POST", feed, body=data, headers=headers)
        return expect(response, 201).headers["Location"]

    def post_messages(self, feed: str, *messages: Element, **headers: str) -> httpx.Response:
        """Post messages to a feed of any type; return the answer."""
        return expect(self.post(feed, restms(message=list(messages)), **headers), 200)

    def publish(self, feed: str, *messages: Element) -> list[int]:
        """Post messages to a default feed; return how many joins each one matched."""
        response = self.post_messages(feed, *messages)
        return [int(routed["count"]) for routed in self.document(response)["message"]]

    def messages(self, pipe: str) -> list[str]:
        """Return the URIs of the messages that a pipe lists, without the asynclet."""
        return [listed["href"] for listed in self.listed(pipe) if "async" not in listed]

    def asynclet(self, pipe: str) -> str:
        """Return the URI of the message that will come next."""
        return next(listed["href"] for listed in self.listed(pipe) if "async" in listed)

    def listed(self, pipe: str) -> list[Element]:
        """Return all that a pipe lists."""
        return self.read(pipe).get("message", [])

    def receive(self, uri: str) -> Element:
        """Read a message, waiting where it is an asynclet."""
        return self.read(uri)

    def receive_all(self, pipe: str) -> list[Element]:
        """Read every message in a pipe, oldest first."""
        return [self.receive(uri) for uri in self.messages(pipe)]

    def ids(self, pipe: str) -> list[str]:
        """Return the message_id of each message that a pipe lists, oldest first."""
        return [listed["message_id"] for listed in self.listed(pipe) if "async" not in listed]

    def consume(self, pipe: str) -> Element:
        """Read a pipe's oldest message, waiting where there is none, and acknowledge it."""
        uri = self.listed(pipe)[0]["href"]
        received = self.receive(uri)
        self.acknowledge(uri)
        return received

    def acknowledge(self, uri: str) -> None:
        """Delete a message, and all older ones with it."""
        expect(self.delete(uri), 200)

    def delete_all(self) -> None:
        """Delete what was made since the last time."""
        while self._made:
            self.delete(self._made.pop())

    def close(self) -> None:
        """Delete what was made, and end the waits."""
        self.delete_all()
        self._threads.shutdown()
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _location(self, response: httpx.Response) -> str:
        return expect(response, 200, 201).headers["Location"]

    def _changed(self, **changes: Any) -> "Client":
        other = Client.__new__(Client)
        other.__dict__.update({**self.__dict__, **changes})
        return other


def until(condition: Callable[[], bool]) -> None:
    """Return when the condition holds; an error if it does not in time."""
    deadline = time.monotonic() + BOUND_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "what was waited for has not come"
        time.sleep(0.02)


def expect(response: httpx.Response, *statuses: int) -> httpx.Response:
    """Return the answer, if its status is one of these."""
    assert response.status_code in statuses, f"{response.status_code}: {response.text[:500]}"
    return response


def _path(uri: str) -> str:
    parts = urlsplit(uri)
    return parts.path + (f"?{parts.query}" if parts.query else "")


def _headers(keywords: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in keywords.items()}
