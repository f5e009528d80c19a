"""One message for 100,000 pipes: how long it takes, and what the others notice of it.

    python -m tests.benchmarks.fanout [pipes [rounds]]

Two nodes share one Redis. All the time, clients beside the fan-out go on, each
in a process of its own: one sends PING to Redis; one at each node posts a message
to a pipe of its own, reads it and deletes it.
A round is a while of peace, then a message, then ten messages in one request;
the latencies of the others stand side by side.
"""

import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import redis
import trio

from tests.benchmarks import bulk
from tests.benchmarks.wire import Wire
from tests.nodes import Cluster

PIPES = 100_000
ROUNDS = 3
FEED = "news"
BODY = "x" * 1024
WORKS = f"{bulk.DOMAIN_KEY}:works"
PING_SECONDS = 0.002  # between two
PAUSE_SECONDS = 0.01  # of the clients at the nodes, after each message
PEACE_SECONDS = 5.0
BATCHES = (1, 10)
Samples = list[tuple[float, float]]
"""When a request was made, and the seconds to its answer."""


def ping(url: str, control: "Connection[Any, Any]") -> None:
    """Send PING, again and again, until told to end; then give the samples back."""
    samples: Samples = []
    with redis.Redis.from_url(url, protocol=2) as client:
        client.ping()
        control.send("ready")
        while not control.poll():
            began = time.monotonic()
            client.ping()
            samples.append((began, time.monotonic() - began))
            time.sleep(PING_SECONDS)
    control.send(samples)


def request(url: str, control: "Connection[Any, Any]") -> None:
    """Post, read and delete one message after the other until told to end."""
    control.send(trio.run(_request, url, control))


async def _request(url: str, control: "Connection[Any, Any]") -> Samples:
    samples: Samples = []
    wire = await Wire.to(url)
    made = await wire.send("POST", "/restms/domain/default", b"<restms><pipe/></restms>")
    pipe = made.partition(b'name="')[2].partition(b'"')[0].decode()
    message = f'<restms><message address="{pipe}"><content>x</content></message></restms>'.encode()

    async def timed(method: str, path: str, body: bytes = b"") -> None:
        began = time.monotonic()
        await wire.send(method, path, body)
        samples.append((began, time.monotonic() - began))

    control.send("ready")
    number = 0
    while not control.poll():
        number += 1
        await timed("POST", "/restms/feed/default", message)
        await timed("GET", f"/restms/resource/{pipe}-{number}")
        await timed("DELETE", f"/restms/resource/{pipe}-{number}")
        await trio.sleep(PAUSE_SECONDS)
    return samples


@contextmanager
def others(cluster: Cluster) -> Iterator[Callable[[], dict[str, list[Samples]]]]:
    """Have other clients at work; what this yields ends them and returns their samples."""
    spawn = multiprocessing.get_context("spawn")
    targets = [("PING", ping, cluster.redis.url)]
    targets += [("HTTP", request, url) for url in cluster.urls]
    running = []
    for what, work, url in targets:
        control, far = spawn.Pipe()
        process = spawn.Process(target=work, args=(url, far), daemon=True)
        process.start()
        running.append((what, control, process))
    for _, control, _ in running:
        control.recv()

    def end() -> dict[str, list[Samples]]:
        found: dict[str, list[Samples]] = {}
        for what, control, process in running:
            control.send("end")
            found.setdefault(what, []).append(control.recv())
            process.join()
        return found

    yield end
    for _, _, process in running:
        process.kill()


@dataclass(frozen=True)
class FanOut:
    """One request's fan-out, by the monotonic clock."""

    messages: int
    began: float
    answered: float
    ended: float


async def fan_out(cluster: Cluster, client: "redis.Redis[bytes]", count: int) -> FanOut:
    """Post so many messages in one request and wait until every pipe has the last of them."""
    wire = await Wire.to(cluster.urls[0])
    message = f"<message><content>{BODY}</content></message>"
    body = f"<restms>{message * count}</restms>".encode()
    began = time.monotonic()
    await wire.send("POST", f"/restms/feed/{FEED}", body)
    answered = time.monotonic()
    while client.exists(WORKS):  # it goes in the step that serves the last pipe
        await trio.sleep(0.01)
    return FanOut(count, began, answered, time.monotonic())


def check(client: "redis.Redis[bytes]", pipes: int, messages: int) -> None:
    """Every pipe has each message once, and every body knows how many hold it."""
    pipeline: Any = client.pipeline(transaction=False)
    for number in range(1, pipes + 1):
        pipeline.hget(bulk.pipe_key(number), "last")
        pipeline.xrange(f"{bulk.pipe_key(number)}:messages")
    answers = pipeline.execute()
    held = answers[1::2]
    assert set(answers[::2]) == {b"%d" % messages}, "not as many messages as were posted"
    order = [fields[b"b"] for _, fields in held[0]]
    assert len(set(order)) == messages, "a message twice"
    assert all([f[b"b"] for _, f in one] == order for one in held), "another order"
    for body in order:
        holders = client.hget(f"{bulk.DOMAIN_KEY}:body:{body.decode()}", "n")
        assert holders == b"%d" % pipes, f"{holders!r} holders"


def spread(samples: Samples, times: list[tuple[float, float]]) -> list[float]:
    """Milliseconds of the requests under way at those times: median, 99th percentile, worst."""
    took = sorted(
        1000 * seconds
        for at, seconds in samples
        if any(at + seconds >= began and at < ended for began, ended in times)
    )
    return [statistics.median(took), took[int(0.99 * (len(took) - 1))], took[-1]]


def report_others(
    found: dict[str, list[Samples]], peace: list[tuple[float, float]], fan_outs: list[FanOut]
) -> None:
    """Print what the others noticed: in peace, and in the fan-outs."""
    print(f"\n{'':>26}{'median':>18}{'p99':>18}{'worst':>18}")
    for what, several in found.items():
        samples = [sample for one in several for sample in one]
        alone = spread(samples, peace)
        print(_row(f"{what}, peace", alone, alone))
        for count in BATCHES:
            times = [(one.began, one.ended) for one in fan_outs if one.messages == count]
            print(_row(f"{what}, fan-out of {count}", spread(samples, times), alone))


def _row(text: str, found: list[float], alone: list[float]) -> str:
    cells = (f"{a:8.2f} ms (x{a / b:4.1f})" for a, b in zip(found, alone, strict=True))
    return f"{text:>26}{''.join(cells)}"


def report(fan_outs: list[FanOut], pipes: int) -> None:
    """Print how long the fan-outs took."""
    for count in BATCHES:
        ours = [one for one in fan_outs if one.messages == count]
        answer = statistics.median(one.answered - one.began for one in ours)
        whole = statistics.median(one.ended - one.began for one in ours)
        print(
            f"fan-out of {count}: answer after {1000 * answer:.1f} ms, the last pipe has it after "
            f"{whole:.2f} s (x{whole / answer:,.0f}), {count * pipes / whole:,.0f} deliveries/s"
        )


def memory(client: "redis.Redis[bytes]") -> int:
    return int(client.info("memory")["used_memory"])


async def measure(cluster: Cluster, client: "redis.Redis[bytes]", pipes: int, rounds: int) -> None:
    """Make the pipes, and do all rounds."""
    empty = memory(client)
    bulk.run_all(client, [bulk.feed(FEED, "fanout")])
    bulk.run_all(client, bulk.pipes(pipes))
    bulk.run_all(client, (bulk.join(n, bulk.secret(n), FEED) for n in range(1, pipes + 1)))
    full = memory(client)
    print(f"memory of a pipe with its two joins: {(full - empty) / pipes:,.0f} bytes")
    peace, fan_outs = [], []
    with others(cluster) as end:
        for _ in range(rounds):
            await trio.sleep(1)
            began = time.monotonic()
            await trio.sleep(PEACE_SECONDS)
            peace.append((began, time.monotonic()))
            for count in BATCHES:
                before = memory(client)
                fan_outs.append(await fan_out(cluster, client, count))
                more = (memory(client) - before) / pipes
                print(f"memory of {count} more in each pipe: {more:,.0f} bytes a pipe")
                await trio.sleep(1)
        found = end()
    check(client, pipes, sum(one.messages for one in fan_outs))
    print("each pipe has each message once, in order")
    report(fan_outs, pipes)
    report_others(found, peace, fan_outs)


def main() -> None:
    pipes = int(sys.argv[1]) if len(sys.argv) > 1 else PIPES
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS
    roomy = ("--pipes-per-domain", str(2 * pipes))
    with Cluster(2, *roomy) as cluster, cluster.redis.client() as client:
        trio.run(measure, cluster, client, pipes, rounds)


if __name__ == "__main__":
    main()
