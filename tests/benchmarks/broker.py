"""What is measured: nodes with the settings of `restms serve`, and bare servers beside them."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import cbor2

from restms_cluster.embedded import OPTIONS
from tests.benchmarks.wire import CBOR, JSON, XML, AnswerError, Line, request
from tests.nodes import Cluster

TEXT = "x" * 100
BATCH = 1000
# Redis is set as `restms serve` sets the one that it starts: an append-only file, written
# out every second. The file is only not rewritten meanwhile, which would be noise.
REDIS = (*OPTIONS, "--auto-aof-rewrite-percentage", "0")
ROOMY = (
    *("--messages-per-pipe", "100000000"),
    *("--pipes-per-domain", "1000000"),
    *("--max-waits", "15000"),
)
PUBLISH = "/restms/feed/default"


def cluster(nodes: int, *options: str) -> Cluster:
    """Return nodes that share a Redis, with room for all that benchmarks put into them."""
    return Cluster(nodes, *ROOMY, *options, redis_options=REDIS)


@contextmanager
def hello(count: int = 1) -> Iterator[list[str]]:
    """Yield the URLs of so many bare servers: what requests are measured by."""
    command = [sys.executable, "-m", "tests.benchmarks.hello"]
    with ExitStack() as stack:
        urls = []
        for _ in range(count):
            process = stack.enter_context(
                subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
            )
            stack.callback(process.terminate)
            assert process.stdout is not None
            urls.append(process.stdout.readline().strip())
        yield urls


def make_pipe(url: str) -> str:
    """Make a pipe; return its name, which is the hash in its URI as well."""
    line = Line(url)
    made = line.ask(request("POST", "/restms/domain/default", b"<restms><pipe/></restms>"))
    line.close()
    return made.partition(b'name="')[2].partition(b'"')[0].decode()


def delete_pipe(url: str, pipe: str) -> None:
    """Delete a pipe with all its messages."""
    line = Line(url)
    line.ask(request("DELETE", f"/restms/resource/{pipe}"))
    line.close()


def document(addresses: Sequence[str], kind: str) -> bytes:
    """Messages of 100 bytes of text, one for each address."""
    if kind == XML:
        messages = "".join(
            f'<message address="{each}"><content>{TEXT}</content></message>' for each in addresses
        )
        return f"<restms>{messages}</restms>".encode()
    content = [{"type": "text/plain", "value": TEXT}]
    tree = {"restms": {"message": [{"address": each, "content": content} for each in addresses]}}
    if kind == JSON:
        import json

        return json.dumps(tree, separators=(",", ":")).encode()
    return cbor2.dumps(tree)


def publishing(pipe: str, count: int = 1, kind: str = XML) -> bytes:
    """A request that posts so many messages for one pipe."""
    return request("POST", PUBLISH, document([pipe] * count, kind), kind)


def reading(pipe: str) -> bytes:
    """A request for the next messages of a pipe, at most a thousand."""
    return request("GET", f"/restms/resource/{pipe}?messages={BATCH}", b"", CBOR, "Prefer: wait=20")


def last_number(pipe: str, answer: bytes) -> int:
    """The number of the last message in an answer to `reading`, without decoding it.

    AnswerError if it has no whole messages in it.
    """
    _, found, after = answer.rpartition(f"/restms/resource/{pipe}-".encode())
    digits = 0
    while found and after[digits : digits + 1].isdigit():
        digits += 1
    if not digits or TEXT.encode() not in answer:
        raise AnswerError("an answer to ?messages= without a whole message in it")
    return int(after[:digits])


def acknowledging(pipe: str, number: int) -> bytes:
    """A request that acknowledges that message and all older ones."""
    return request("DELETE", f"/restms/resource/{pipe}-{number}")
