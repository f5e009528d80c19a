"""An emulator of Amazon's SQS: moto's server, which keeps everything in its memory.

It is made for tests, not for speed: a threaded Python server. It stands here because
it is what many run on their own machine in SQS's place.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

from tests.benchmarks.broker import TEXT
from tests.benchmarks.clients import Clients, Conversation
from tests.benchmarks.load import CONNECTIONS, Load, rate
from tests.benchmarks.measure import NotInstalledError
from tests.benchmarks.processes import free_port, listens, running
from tests.benchmarks.wire import Line, request

INSTALL = "moto's server is not installed (pip install '.[bench]')"
JSON = "application/x-amz-json-1.0"
SIGNED = (
    "Authorization: AWS4-HMAC-SHA256 Credential=bench/20260101/us-east-1/sqs/aws4_request, "
    "SignedHeaders=host, Signature=none"
)
MANY = 10  # messages in a request: the most that SQS takes


@dataclass(frozen=True)
class Sqs:
    """An emulator at work, with one queue."""

    url: str
    queue: str

    def publish(self, seconds: float) -> float:
        """Messages a second, one in a SendMessage."""
        raw = call("SendMessage", QueueUrl=self.queue, MessageBody=TEXT)
        found = rate(self.url, Load((raw,)), seconds)
        self._purge()
        return found

    def publish_batches(self, seconds: float) -> float:
        """Messages a second, ten in a SendMessageBatch."""
        found = rate(self.url, Load((self._batch(),)), seconds) * MANY
        self._purge()
        return found

    def take(self, seconds: float) -> float:
        """Messages a second, each received and deleted by itself."""
        line = Line(self.url)
        for _ in range(round(100 * seconds) + 2 * CONNECTIONS):  # 1,000 a second are enough
            line.ask(self._batch())
        line.close()
        receive = call("ReceiveMessage", QueueUrl=self.queue, MaxNumberOfMessages=1)
        done = 0

        def taker(end: float) -> Conversation:
            nonlocal done
            while perf_counter() < end:
                answer = yield receive
                handle = json.loads(answer)["Messages"][0]["ReceiptHandle"]
                yield call("DeleteMessage", QueueUrl=self.queue, ReceiptHandle=handle)
                done += 1

        with Clients(self.url, CONNECTIONS) as clients:
            began = perf_counter()
            clients.run([taker(began + seconds) for _ in range(CONNECTIONS)])
            elapsed = perf_counter() - began
        self._purge()
        return done / elapsed

    def _batch(self) -> bytes:
        entries = [{"Id": str(number), "MessageBody": TEXT} for number in range(MANY)]
        return call("SendMessageBatch", QueueUrl=self.queue, Entries=entries)

    def _purge(self) -> None:
        line = Line(self.url)
        line.ask(call("PurgeQueue", QueueUrl=self.queue))
        line.close()


def call(action: str, **parameters: Any) -> bytes:
    """A request of SQS's."""
    body = json.dumps(parameters).encode()
    return request("POST", "/", body, JSON, f"X-Amz-Target: AmazonSQS.{action}", SIGNED)


@contextmanager
def sqs(directory: Path) -> Iterator[Sqs]:
    """Run an emulator. NotInstalledError without it."""
    if find_spec("moto") is None or find_spec("flask_cors") is None:
        raise NotInstalledError(INSTALL)
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with running(command, directory / "moto.log", lambda: listens(port)):
        url = f"http://127.0.0.1:{port}"
        line = Line(url)
        made = json.loads(line.ask(call("CreateQueue", QueueName="bench")))
        line.close()
        yield Sqs(url, str(made["QueueUrl"]))
