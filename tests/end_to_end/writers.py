"""Writers that go on while servers fail, and remember what they were answered."""

import re
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

import httpx

from tests.end_to_end.conftest import Client, name, text, until
from tests.nodes import Redis


class Writer:
    """Publishes 0, 1, 2 … to a pipe of a domain, at each node in turn, for the time of a block.

    `taken` are those that were answered with 200, `refused` those with 503;
    what any other answer, or none, was given to is a failure.
    """

    def __init__(self, client: Client, domain: str) -> None:
        self.domain = domain
        self.pipe = new_pipe(client, domain)
        self.taken: list[str] = []
        self.refused: list[str] = []
        self._client = client
        self._ended = False
        self._thread = ThreadPoolExecutor(1)

    def stored(self) -> list[str]:
        """Take what is in the pipe, in order."""
        found: list[str] = []
        while True:
            answer = self._client.send("GET", f"{self.pipe}?messages=1000", Prefer="wait=0")
            assert answer.status_code in (200, 204), answer.text
            texts = re.findall(r"<content[^>]*>([^<]*)</content>", answer.text)
            if not texts:
                return found
            found += texts
            last = re.findall(r'<message [^>]*href="([^"]*)"', answer.text)[-1]
            assert self._client.send("DELETE", last).status_code == 200

    def _write(self) -> None:
        number = 0
        while not self._ended:
            answer = publish(self._client, self.domain, self.pipe, str(number))
            assert answer.status_code in (200, 503), answer.text
            (self.taken if answer.status_code == 200 else self.refused).append(str(number))
            number += 1

    def __enter__(self) -> Self:
        self._writing = self._thread.submit(self._write)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended = True
        self._thread.shutdown()
        self._writing.result()


def new_pipe(client: Client, domain: str) -> str:
    """Create a pipe in a domain; return its URI."""
    answer = client.send("POST", f"/restms/domain/{domain}", "<restms><pipe/></restms>")
    assert answer.status_code == 201, answer.text
    return answer.headers["location"]


def publish(client: Client, domain: str, pipe: str, text: str, **how: object) -> httpx.Response:
    """Post a message to a pipe by the default feed of its domain."""
    message = f'<message address="{name(pipe)}"><content>{text}</content></message>'
    return client.send(
        "POST", f"/restms/feed/{domain}/default", f"<restms>{message}</restms>", **how
    )


def at_last(ask: Callable[[], httpx.Response], seconds: float = 15) -> httpx.Response:
    """Ask again for as long as the answer is 503: each node finds a new server by itself."""
    deadline = time.monotonic() + seconds
    while (answer := ask()).status_code == 503:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.02)
    assert answer.status_code == 200, answer.text
    return answer


def publish_at_last(client: Client, domain: str, pipe: str, text: str, seconds: float = 15) -> None:
    """Post a message, again and again for as long as that is answered with 503."""
    at_last(lambda: publish(client, domain, pipe, text), seconds)


def uris(client: Client, pipe: str, node: int | None = None) -> list[str]:
    """The URIs of the messages that a pipe lists, and at last that of the next one."""
    listed = at_last(lambda: client.send("GET", pipe, node=node))
    return re.findall(r'href="([^"]*-\d+)"', listed.text)


def check_told(client: Client, wait: "Future[httpx.Response]", pipe: str, message: str) -> None:
    """A wait has ended with 404, since the server has changed; its reader finds the message."""
    assert wait.result(10).status_code == 404
    uri = uris(client, pipe)[-2]
    assert text(at_last(lambda: client.send("GET", uri))) == message


def parked(redis: Redis, domain: str, pipe: str, waits: int = 1) -> None:
    """Wait until so many nodes listen for a pipe at the server that serves its domain now."""
    key = f"restms:{{{domain}}}:pipe:{name(pipe).rpartition('.')[2][1:]}:messages"

    def listen() -> bool:
        with redis.client(domain) as client:
            counts = client.pubsub_numsub(f"__keyspace@0__:{key}", key)
        return sum(count for _, count in counts) >= waits

    until(listen)
