"""What a message costs over HTTP, beside the least that Hypercorn and Redis can do.

    python -m tests.benchmarks.messages [rounds]

Everything runs on this machine. Each round measures all ways in turn, for
about a second each; the ratios are taken within a round, and their medians
printed, since machines are noisy and change their pace.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from urllib.parse import urlsplit

import cbor2
import trio

from tests.nodes import Cluster

CONNECTIONS = 16
SECONDS = 1.0
BATCH = 1000
TEXT = "x" * 100
XML = "application/restms+xml"
CBOR = "application/restms+cbor"
FLOOR = """#!lua
for i = 1, #ARGV do redis.call('XADD', KEYS[1], '*', 'm', ARGV[i]) end
return #ARGV
"""


class Wire:
    """One kept HTTP/1.1 connection, with as little of a client as will do."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._read = b""

    @classmethod
    async def to(cls, url: str) -> "Wire":
        parts = urlsplit(url)
        return cls(await trio.open_tcp_stream(parts.hostname or "", parts.port or 80))

    async def send(self, method: str, path: str, body: bytes = b"", kind: str = XML) -> bytes:
        """Send a request; return the answer's body. RuntimeError unless it is a success."""
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAccept: {kind}\r\n"
        if body:
            head += f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        await self._stream.send_all(f"{head}\r\n".encode() + body)
        while b"\r\n\r\n" not in self._read:
            await self._more()
        answer, _, self._read = self._read.partition(b"\r\n\r\n")
        length = int(answer.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
        while len(self._read) < length:
            await self._more()
        found, self._read = self._read[:length], self._read[length:]
        if not answer.startswith(b"HTTP/1.1 2"):
            raise RuntimeError(answer.decode())
        return found

    async def _more(self) -> None:
        some = await self._stream.receive_some(65536)
        if not some:
            raise RuntimeError("the server closed the connection")
        self._read += some


async def rate(url: str, work: Callable[[Wire], Awaitable[int]]) -> float:
    """Return how much 16 connections do in a second; `work` tells how much it did."""
    done = 0
    wires = [await Wire.to(url) for _ in range(CONNECTIONS)]
    end = time.perf_counter() + SECONDS

    async def loop(wire: Wire) -> None:
        nonlocal done
        while time.perf_counter() < end:
            some = await work(wire)
            done += some

    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for wire in wires:
            nursery.start_soon(loop, wire)
    return done / (time.perf_counter() - began)


class Bench:
    """The ways that are compared, on one cluster of two nodes and one bare Hypercorn."""

    def __init__(self, cluster: Cluster, hello: str) -> None:
        self._urls = cluster.urls
        self._hello = hello
        self._redis = cluster.redis.client()
        self._floor = self._redis.register_script(FLOOR)
        self._pipe = ""

    async def new_pipe(self) -> None:
        """Go on with an empty pipe."""
        wire = await Wire.to(self._urls[0])
        if self._pipe:
            await wire.send("DELETE", f"/restms/resource/{self._pipe}")
        body = b"<restms><pipe/></restms>"
        made = await wire.send("POST", "/restms/domain/default", body)
        self._pipe = made.partition(b'name="')[2].partition(b'"')[0].decode()

    def xml(self) -> bytes:
        text = (
            f'<restms><message address="{self._pipe}"><content>{TEXT}</content></message></restms>'
        )
        return text.encode()

    def cbor(self) -> bytes:
        content = {"type": "text/plain", "value": TEXT}
        message = {"address": self._pipe, "content": [content]}
        return cbor2.dumps({"restms": {"message": [message] * BATCH}})

    async def hello(self) -> float:
        """Requests a second of a bare Hypercorn."""

        async def get(wire: Wire) -> int:
            await wire.send("GET", "/")
            return 1

        return await rate(self._hello, get)

    async def post(self) -> float:
        """Messages a second, one in a request."""
        body = self.xml()

        async def publish(wire: Wire) -> int:
            await wire.send("POST", "/restms/feed/default", body)
            return 1

        return await rate(self._urls[0], publish)

    async def read_and_acknowledge(self) -> float:
        """Messages a second read and acknowledged, a request each, of a filled pipe."""
        filler = await Wire.to(self._urls[0])
        for _ in range(5):
            await filler.send("POST", "/restms/feed/default", self.cbor(), CBOR)
        numbers = iter(range(1, 5 * BATCH + 1))

        async def take(wire: Wire) -> int:
            number = next(numbers)
            await wire.send("GET", f"/restms/resource/{self._pipe}-{number}")
            # A number that nobody will read: acknowledging takes all the older ones with it.
            await wire.send("DELETE", f"/restms/resource/{self._pipe}-{10**9}")
            return 1

        return await rate(self._urls[0], take)

    async def batch(self) -> float:
        """Messages a second, a thousand in a request."""
        body = self.cbor()

        async def publish(wire: Wire) -> int:
            await wire.send("POST", "/restms/feed/default", body, CBOR)
            return BATCH

        return await rate(self._urls[0], publish)

    async def floor(self) -> float:
        """XADDs a second of the barest script, a thousand in a call: what Redis itself can do."""
        return await trio.to_thread.run_sync(self._floor_in_thread)

    def _floor_in_thread(self) -> float:
        done, values = 0, [TEXT] * BATCH
        began = time.perf_counter()
        while time.perf_counter() - began < SECONDS:
            with self._redis.pipeline(transaction=False) as pipeline:
                for _ in range(CONNECTIONS):
                    self._floor(keys=["floor"], args=values, client=pipeline)
                pipeline.execute()
            done += CONNECTIONS * BATCH
        elapsed = time.perf_counter() - began
        self._redis.delete("floor")
        return done / elapsed

    async def wake_up(self) -> float:
        """The reverse of the median seconds from a POST on one node to an answer on another."""
        reader, writer = await Wire.to(self._urls[1]), await Wire.to(self._urls[0])
        body, times = self.xml(), []
        for number in range(1, 101):
            arrived = 0.0

            async def wait(number: int = number) -> None:
                nonlocal arrived
                await reader.send("GET", f"/restms/resource/{self._pipe}-{number}")
                arrived = time.perf_counter()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                await trio.sleep(0.003)  # the wait is to be parked when the message comes
                began = time.perf_counter()
                await writer.send("POST", "/restms/feed/default", body)
            times.append(arrived - began)
        return 1 / statistics.median(times)

    async def round_trip(self) -> float:
        """The reverse of the median seconds of one request to a bare Hypercorn."""
        wire, times = await Wire.to(self._hello), []
        for _ in range(100):
            began = time.perf_counter()
            await wire.send("GET", "/")
            times.append(time.perf_counter() - began)
            await trio.sleep(0.003)
        return 1 / statistics.median(times)


WAYS = ("hello", "post", "read_and_acknowledge", "floor", "batch", "round_trip", "wake_up")
RATIOS = (
    ("POST of one message in XML, beside a bare request", "post", "hello"),
    ("GET and DELETE of one message, beside a bare request", "read_and_acknowledge", "hello"),
    ("batch of 1,000 in CBOR, beside the same XADDs by the barest script", "batch", "floor"),
    ("wake-up on another node, beside a bare round trip (speed)", "wake_up", "round_trip"),
)


async def compare(bench: Bench, rounds: int) -> None:
    """Measure in turn, and print medians."""
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
        for way in WAYS:
            await bench.new_pipe()
            found[way].append(await getattr(bench, way)())
    for way in WAYS:
        print(f"{way:>22} {statistics.median(found[way]):12,.0f} a second")
    for text, one, other in RATIOS:
        ratios = [a / b for a, b in zip(found[one], found[other], strict=True)]
        print(f"{statistics.median(ratios):6.2f}  {text}")


def main() -> None:
    """Start everything, and compare."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    command = [sys.executable, "-m", "tests.benchmarks.hello"]
    roomy = ("--messages-per-pipe", "100000000")
    with (
        Cluster(2, *roomy) as cluster,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as hello,
    ):
        assert hello.stdout is not None
        bench = Bench(cluster, hello.stdout.readline().strip())
        try:
            trio.run(partial(compare, bench, rounds))
        finally:
            hello.terminate()


if __name__ == "__main__":
    main()
