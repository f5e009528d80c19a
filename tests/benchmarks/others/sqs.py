"""An emulator of Amazon's SQS: moto's server, which keeps everything in its memory.

It is made for tests, not for speed: a threaded Python server. It stands here because
it is what many run on their own machine in SQS's place.
"""

import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any
from uuid import uuid4

from tests.benchmarks.broker import TEXT
from tests.benchmarks.load import CONNECTIONS
from tests.benchmarks.measure import NotInstalledError
from tests.benchmarks.processes import free_port, listens, running
from tests.benchmarks.wire import Line, request

INSTALL = "moto's server is not installed (pip install '.[bench]')"
JSON = "application/x-amz-json-1.0"
SIGNED = (
    "Authorization: AWS4-HMAC-SHA256 Credential=bench/20260101/us-east-1/sqs/aws4_request, "
    "SignedHeaders=host, Signature=none"
)
# Messages to be received in a second. Each is the slower the more there are, so they
# are about as many as it can give away.
PLENTY = 200
MANY = 10  # messages in a request: the most that SQS takes


@dataclass(frozen=True)
class Sqs:
    """An emulator at work."""

    url: str

    def publish(self, seconds: float) -> float:
        """Messages a second, one in a SendMessage."""
        with self._queue() as queue:
            raw = call("SendMessage", QueueUrl=queue, MessageBody=TEXT)
            return _rate(lambda: len(self.ask(raw)) > 0, seconds)

    def publish_batches(self, seconds: float) -> float:
        """Messages a second, ten in a SendMessageBatch."""
        with self._queue() as queue:
            raw = _batch(queue)
            return MANY * _rate(lambda: len(self.ask(raw)) > 0, seconds)

    def take(self, seconds: float) -> float:
        """Messages a second, each received and deleted by itself."""
        with self._queue() as queue:
            for _ in range(round(PLENTY * max(seconds, 1) / MANY)):
                self.ask(_batch(queue))
            return _rate(lambda: self._take(queue), seconds)

    def _take(self, queue: str) -> bool:
        answer = self.ask(call("ReceiveMessage", QueueUrl=queue, MaxNumberOfMessages=1))
        for message in json.loads(answer).get("Messages", []):
            handle = message["ReceiptHandle"]
            self.ask(call("DeleteMessage", QueueUrl=queue, ReceiptHandle=handle))
            return True
        return False

    def ask(self, raw: bytes) -> bytes:
        """Send a request on a connection of its own: the server keeps none."""
        with closing(Line(self.url)) as line:
            return line.ask(raw)

    @contextmanager
    def _queue(self) -> Iterator[str]:
        made = json.loads(self.ask(call("CreateQueue", QueueName=f"bench-{uuid4()}")))
        yield made["QueueUrl"]
        self.ask(call("DeleteQueue", QueueUrl=made["QueueUrl"]))


def _rate(once: Callable[[], bool], seconds: float) -> float:
    """How often a second that can be done by 16 threads."""
    began = perf_counter()

    def work() -> int:
        done = 0
        while perf_counter() < began + seconds:
            done += once()
        return done

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        workers = [threads.submit(work) for _ in range(CONNECTIONS)]
        return sum(each.result() for each in workers) / (perf_counter() - began)


def _batch(queue: str) -> bytes:
    entries = [{"Id": str(number), "MessageBody": TEXT} for number in range(MANY)]
    return call("SendMessageBatch", QueueUrl=queue, Entries=entries)


def call(action: str, **parameters: Any) -> bytes:
    """A request of SQS's."""
    body = json.dumps(parameters).encode()
    return request("POST", "/", body, JSON, f"X-Amz-Target: AmazonSQS.{action}", SIGNED)


@contextmanager
def open_sqs(directory: Path) -> Iterator[Sqs]:
    """Run an emulator. NotInstalledError without it."""
    if find_spec("moto") is None or find_spec("flask_cors") is None:
        raise NotInstalledError(INSTALL)
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with running(command, directory / "moto.log", lambda: listens(port)):
        yield Sqs(f"http://127.0.0.1:{port}")
