"""What nodes are given to do while they are measured: publishing, reading, acknowledging.

Each connection has a pipe of its own. The next request is sent when the last is answered,
so with few connections calls come to Redis one by one, and with many in groups.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import cbor2

from tests.benchmarks.broker import ROOMY, acknowledging
from tests.benchmarks.clients import Conversation
from tests.benchmarks.wire import CBOR, XML, Line, request
from tests.nodes import Cluster
from tests.servers import start_server

Talk = Callable[[str, int, range], Conversation]
"""Makes a conversation about a pipe, in the domain of that number, of those turns."""

DOMAINS = 4
DURABLE = (
    *("--appendonly", "yes", "--auto-aof-rewrite-percentage", "0"),
    *("--notify-keyspace-events", "Kt", "--stream-node-max-bytes", "1024"),
)
"""As operations.md says, but that the file is not rewritten meanwhile, which would be noise."""


def domain(number: int) -> str:
    return f"d{number}" if number else "default"


@contextmanager
def broker(nodes: int, domains: int = DOMAINS, *options: str) -> Iterator[Cluster]:
    """Nodes that have so many domains."""
    text = "".join(
        f'[[domain]]\nname = "{domain(n)}"\n[[domain.feed]]\nname = "default"\n'
        for n in range(domains)
    )
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "restms.toml"
        config.write_text(text)
        # Over TCP, as Redis is reached from other machines.
        with (
            closing(start_server(Path(directory), *DURABLE, tcp=True)) as redis,
            Cluster(nodes, *ROOMY, "--config", str(config), *options, redis=redis) as found,
        ):
            yield found


def pipe(url: str, number: int = 0) -> str:
    """Make a pipe in that domain; return its name."""
    line = Line(url)
    made = line.ask(
        request("POST", f"/restms/domain/{domain(number)}", b"<restms><pipe/></restms>")
    )
    line.close()
    return made.partition(b'name="')[2].partition(b'"')[0].decode()


def feed(number: int) -> str:
    return "/restms/feed/default" if number == 0 else f"/restms/feed/{domain(number)}/default"


def publishing(name: str, number: int, size: int, messages: int = 1) -> bytes:
    """A request with so many messages of so many bytes; in CBOR where there are many."""
    text = "x" * size
    if messages == 1:
        body = f'<restms><message address="{name}"><content>{text}</content></message></restms>'
        return request("POST", feed(number), body.encode(), XML)
    content = [{"type": "text/plain", "value": text}]
    many = [{"address": name, "content": content}] * messages
    return request("POST", feed(number), cbor2.dumps({"restms": {"message": many}}), CBOR)


def publish(size: int = 100, messages: int = 1) -> Talk:
    def talk(name: str, number: int, turns: range) -> Conversation:
        raw = publishing(name, number, size, messages)
        for _ in turns:
            yield raw

    return talk


def look() -> Talk:
    """Read the message that has not come yet, without waiting for it."""

    def talk(name: str, number: int, turns: range) -> Conversation:
        raw = request("GET", f"/restms/resource/{name}-1", b"", XML, "Prefer: wait=0")
        for _ in turns:
            yield raw

    return talk


def exchange(size: int = 100) -> Talk:
    """Publish a message, read it, acknowledge it."""

    def talk(name: str, number: int, turns: range) -> Conversation:
        raw = publishing(name, number, size)
        for turn in turns:
            yield raw
            yield request("GET", f"/restms/resource/{name}-{turn}")
            yield acknowledging(name, turn)

    return talk


def volume(size: int, messages: int) -> Talk:
    """Publish many messages in a request, read them in one, acknowledge them in one."""

    def talk(name: str, number: int, turns: range) -> Conversation:
        raw = publishing(name, number, size, messages)
        for turn in turns:
            yield raw
            yield request("GET", f"/restms/resource/{name}?messages={messages}", b"", CBOR)
            yield acknowledging(name, turn * messages)

    return talk


def spread(path: str, size: int = 100) -> Talk:
    """Publish to a feed, whoever has joined it."""

    def talk(name: str, number: int, turns: range) -> Conversation:
        raw = request(
            "POST",
            path,
            f"<restms><message><content>{'x' * size}</content></message></restms>".encode(),
        )
        for _ in turns:
            yield raw

    return talk
