"""RabbitMQ: by AMQP with confirms, and by the HTTP API of its management plugin.

It has its own settings as they come; queues are durable (classic ones) and messages
persistent, so that a confirmed message is on the disk.
"""

import os
import shutil
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from time import perf_counter

from tests.benchmarks.broker import BATCH, TEXT
from tests.benchmarks.clients import Clients, Conversation
from tests.benchmarks.load import CONNECTIONS, Load, rate
from tests.benchmarks.measure import NotInstalledError
from tests.benchmarks.others import amqp
from tests.benchmarks.processes import free_port, listens, running
from tests.benchmarks.wire import request

SERVERS = (
    "/usr/lib/rabbitmq/bin/rabbitmq-server",  # Debian's own on PATH wants to be another user
    "/usr/local/sbin/rabbitmq-server",
)
INSTALL = "RabbitMQ is not installed (apt-get install rabbitmq-server)"
QUEUE = "bench"
WRITERS = 4
PREFETCH = 2 * BATCH
HTTP_PUBLISH = "/api/exchanges/%2F/amq.default/publish"
HTTP_GET = f"/api/queues/%2F/{QUEUE}/get"
SIGNED = "Authorization: Basic " + b64encode(b"guest:guest").decode()


@dataclass(frozen=True)
class RabbitMQ:
    """A broker at work."""

    port: int
    url: str

    def publish(self, seconds: float) -> float:
        """Messages a second over AMQP, the next when the last is confirmed, 16 connections."""
        raw, done = amqp.publishing(QUEUE, TEXT), 0

        def publisher(end: float) -> Conversation:
            nonlocal done
            while perf_counter() < end:
                yield raw
                done += 1

        with self._queue(), self._publishers(CONNECTIONS) as clients:
            began = perf_counter()
            clients.run([publisher(began + seconds) for _ in range(CONNECTIONS)])
            return done / (perf_counter() - began)

    def publish_batches(self, seconds: float) -> float:
        """Messages a second over AMQP: a thousand, and then all their confirms."""
        done = 0

        def publisher(end: float) -> Conversation:
            nonlocal done
            for number in count():
                if perf_counter() >= end:
                    return
                yield from _batch(number)
                done += BATCH

        with self._queue(), self._publishers(WRITERS) as clients:
            began = perf_counter()
            clients.run([publisher(began + seconds) for _ in range(WRITERS)])
            return done / (perf_counter() - began)

    def move(self, batches: int) -> float:
        """Messages a second over AMQP, published, confirmed, delivered and acknowledged."""
        left = iter(range(batches))

        def publisher() -> Conversation:
            for number, _ in enumerate(left):
                yield from _batch(number)

        def consumer() -> Conversation:
            taken = 0
            answer = yield b""
            while True:
                some, tag = amqp.COUNTED.unpack(answer)
                taken += some
                if taken == batches * BATCH:
                    break
                answer = yield amqp.acknowledging(tag, older=True)
            link.sendall(amqp.acknowledging(tag, older=True))  # few bytes: they are taken

        with self._queue(), self._publishers(2) as clients:
            link = amqp.consuming(amqp.connect(self.port), QUEUE, PREFETCH)
            clients.adopt(link, amqp.take_messages)
            began = perf_counter()
            clients.run([publisher(), publisher(), consumer()])
            return batches * BATCH / (perf_counter() - began)

    def take(self, seconds: float) -> float:
        """Messages a second over AMQP, each got and acknowledged by itself."""
        done, get = 0, amqp.getting(QUEUE)

        def taker(end: float) -> Conversation:
            nonlocal done
            answer = yield get
            while perf_counter() < end:
                _, tag = amqp.COUNTED.unpack(answer)
                done += 1
                answer = yield amqp.acknowledging(tag, older=False) + get

        with self._queue(), Clients() as clients:
            self._fill(round(40 * seconds) + 1)
            for _ in range(CONNECTIONS):
                clients.adopt(amqp.connect(self.port), amqp.take_messages)
            began = perf_counter()
            clients.run([taker(began + seconds) for _ in range(CONNECTIONS)])
            return done / (perf_counter() - began)

    def http_publish(self, seconds: float) -> float:
        """Messages a second by the management API."""
        body = (
            f'{{"properties":{{"delivery_mode":2}},"routing_key":"{QUEUE}",'
            f'"payload":"{TEXT}","payload_encoding":"string"}}'
        ).encode()
        raw = request("POST", HTTP_PUBLISH, body, "application/json", SIGNED)
        with self._queue():
            return rate(self.url, Load((raw,)), seconds)

    def http_take(self, seconds: float) -> float:
        """Messages a second by the management API, each got and acknowledged at once."""
        body = b'{"count":1,"ackmode":"ack_requeue_false","encoding":"auto"}'
        raw = request("POST", HTTP_GET, body, "application/json", SIGNED)
        with self._queue():
            self._fill(round(5 * seconds) + 1)
            return rate(self.url, Load((raw,)), seconds)

    def _fill(self, batches: int) -> None:
        def publisher() -> Conversation:
            for number in range(batches):
                yield from _batch(number)

        with self._publishers(1) as clients:
            clients.run([publisher()])

    @contextmanager
    def _queue(self) -> Iterator[None]:
        with closing(amqp.connect(self.port)) as link:
            amqp.delete_queue(link, QUEUE)  # which is nothing where there is none
            amqp.make_queue(link, QUEUE)
            yield
            amqp.delete_queue(link, QUEUE)

    @contextmanager
    def _publishers(self, number: int) -> Iterator[Clients]:
        with Clients() as clients:
            for _ in range(number):
                clients.adopt(amqp.confirmed(amqp.connect(self.port)), amqp.take_confirm)
            yield clients


def _batch(number: int) -> Conversation:
    """Publish a thousand and wait until all are confirmed; `number` of them went before."""
    pending = set(range(number * BATCH + 1, (number + 1) * BATCH + 1))
    confirm = yield amqp.publishing(QUEUE, TEXT, BATCH)
    while True:
        tag, older = amqp.tag_of(confirm)
        if older:
            pending = {each for each in pending if each > tag}
        else:
            pending.discard(tag)
        if not pending:
            return
        confirm = yield b""


@contextmanager
def open_rabbitmq(directory: Path) -> Iterator[RabbitMQ]:
    """Run a broker of its own. NotInstalledError without RabbitMQ."""
    server = next((path for path in SERVERS if Path(path).exists()), None)
    epmd = shutil.which("epmd")
    if server is None or epmd is None:
        raise NotInstalledError(INSTALL)
    port, http, epmd_port, between = (free_port() for _ in range(4))
    (directory / "rabbitmq.conf").write_text(
        f"listeners.tcp.1 = 127.0.0.1:{port}\n"
        "management.tcp.ip = 127.0.0.1\n"
        f"management.tcp.port = {http}\n"
    )
    (directory / "plugins").write_text("[rabbitmq_management].")
    env = {
        "PATH": os.environ.get("PATH", ""),
        "LANG": "C.UTF-8",
        "HOME": str(directory),
        "ERL_EPMD_PORT": str(epmd_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": "bench@localhost",
        "RABBITMQ_DIST_PORT": str(between),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"),
        "RABBITMQ_LOG_BASE": str(directory / "log"),
        "RABBITMQ_PID_FILE": str(directory / "pid"),
        "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
        "RABBITMQ_CONF_ENV_FILE": str(directory / "none"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "plugins"),
    }
    with ExitStack() as stack:
        names = [epmd, "-port", str(epmd_port), "-address", "127.0.0.1"]
        stack.enter_context(running(names, directory / "epmd.log", lambda: listens(epmd_port), env))
        stack.enter_context(
            running([server], directory / "out.log", lambda: listens(port) and listens(http), env)
        )
        yield RabbitMQ(port, f"http://127.0.0.1:{http}")
