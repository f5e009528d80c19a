"""Everything that the costs are taken from, measured in short samples, again and again.

Other work on the machine can only make a sample dearer. So samples are short and many, and
the cheaper ones count (`fit.py`).
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from tests.benchmarks import bulk
from tests.benchmarks.clients import Clients, Conversation
from tests.benchmarks.report import machine
from tests.benchmarks.scaling import background, calls, waiting, work
from tests.benchmarks.scaling.costs import Costs, found
from tests.benchmarks.scaling.meter import Meter, Reading, processor_seconds
from tests.benchmarks.scaling.samples import Sample, read, write
from tests.benchmarks.single import HELLO
from tests.nodes import Cluster

MACHINE = ("system", "processor", "cores", "Python", "trio", "hiredis")
NODES = 4
REQUESTS = 600  # in a sample, about
FANS = (1, 10, 100, 400)
WORK = 3000  # pipes: more than one call serves
SINGLE = ("publish", "read", "acknowledge")


def singles(nodes: Cluster, meter: Meter) -> Iterator[Sample]:
    """One message in a request, by few connections and by many, at one node and at several."""
    for count in range(1, NODES + 1):
        for connections in (1, 16, 64):
            if connections < count:
                continue
            for domains in (1, work.DOMAINS) if connections >= 16 else (1,):
                pipes = made(nodes, connections, domains)
                turns = max(1, REQUESTS // connections)
                for name, talk, kinds in (
                    ("publish", work.publish(), ("publish",)),
                    ("look", work.look(), ("look",)),
                    ("exchange", work.exchange(), SINGLE),
                ):
                    fresh = made(nodes, connections, domains) if name == "exchange" else pipes
                    if name == "look":
                        fresh = made(nodes, connections, domains)
                    done = dict.fromkeys(kinds, float(turns * connections))
                    yield sample(nodes, meter, name, count, fresh, talk, turns, done)


def sizes(nodes: Cluster, meter: Meter) -> Iterator[Sample]:
    """Larger messages."""
    for size in (1000, 10_000, 60_000):
        turns = max(2, REQUESTS // 16 // (1 + size // 10_000))
        done = dict.fromkeys((*SINGLE, "kilobytes"), float(turns * 16))
        done["kilobytes"] *= size / 1000
        pipes = made(nodes, 16, 1)
        yield sample(nodes, meter, "sizes", 1, pipes, work.exchange(size), turns, done)


def batches(nodes: Cluster, meter: Meter) -> Iterator[Sample]:
    """Many messages in a request, of 100 bytes and of 1,000."""
    for size in (100, 1000):
        for messages in (10, 100, 1000):
            turns = max(2, 200 // messages)
            requests = float(turns * 4)
            total = requests * messages
            done = {"batch": requests, "message": total, "kilobytes": total * size / 1000}
            pipes = made(nodes, 4, 1)
            yield sample(
                *(nodes, meter, "batches", 1, pipes, work.volume(size, messages), turns, done)
            )


def fans(nodes: Cluster, meter: Meter) -> Iterator[Sample]:
    """A message for several pipes, and for so many that it is handed out by and by."""
    for pipes in (*FANS, WORK):
        turns = max(1, 60 // pipes) if pipes < WORK else 1
        connections = 4 if pipes < WORK else 1
        talk = work.spread(f"/restms/feed/fan{pipes}")
        count = float(turns * connections)
        kind = "handed" if pipes == WORK else "delivery"
        done = {"spread": count, kind: count * pipes}
        yield sample(*(nodes, meter, "fan", 1, [("", 0)] * connections, talk, turns, done))


def sample(
    nodes: Cluster,
    meter: Meter,
    way: str,
    count: int,
    pipes: list[tuple[str, int]],
    talk: work.Talk,
    turns: int,
    done: dict[str, float],
) -> Sample:
    """Measure one thing, at the first `count` nodes."""
    domains = len({number for _, number in pipes})
    with Clients(nodes.urls[:count], len(pipes)) as clients:
        clients.run([talk(*each, range(1, 2)) for each in pipes])  # what is new costs more
        await_works(nodes)
        before = meter.read()
        clients.run([talk(*each, range(2, 2 + turns)) for each in pipes])
        await_works(nodes)
        return Sample(way, count, len(pipes), domains, done, meter.read() - before)


def await_works(nodes: Cluster) -> None:
    """Return when nothing is left to be handed out."""
    with nodes.redis.client() as client:
        while client.exists(f"{bulk.DOMAIN_KEY}:works"):
            time.sleep(0.002)


def made(nodes: Cluster, count: int, domains: int) -> list[tuple[str, int]]:
    """Make so many pipes, spread over so many domains."""
    return [(work.pipe(nodes.urls[0], n % domains), n % domains) for n in range(count)]


def prepare(nodes: Cluster) -> None:
    """Make the feeds that many have joined."""
    with nodes.redis.client() as client:
        bulk.run_all(client, bulk.pipes(WORK))
        for pipes in (*FANS, WORK):
            name = f"fan{pipes}"
            bulk.run_all(client, [bulk.feed(name, "fanout")])
            bulk.run_all(
                client,
                (
                    bulk.join(n, bulk.secret(n + pipes * 1_000_000), name)
                    for n in range(1, pipes + 1)
                ),
            )


def bare() -> Sample:
    """Requests to a bare server, which tell how fast the machine is."""
    command = [sys.executable, "-m", "tests.benchmarks.hello"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            with Clients(process.stdout.readline().strip(), 16) as clients:
                clients.run([_ask(10) for _ in range(16)])
                before = processor_seconds(process.pid)
                clients.run([_ask(100) for _ in range(16)])
                took = processor_seconds(process.pid) - before
        finally:
            process.terminate()
    return Sample("bare", 1, 16, 1, {"bare": 1600.0}, Reading(took, *(0.0,) * 9))


def _ask(times: int) -> Conversation:
    for _ in range(times):
        yield HELLO.requests[0]


def samples(rounds: int) -> Iterator[Sample]:
    """Measure everything so often."""
    with work.broker(NODES) as nodes, closing(Meter(nodes)) as meter:
        prepare(nodes)
        for _ in range(rounds):
            for part in (singles, sizes, batches, fans):
                yield from part(nodes, meter)
    for _ in range(rounds):
        yield bare()
        yield from calls.samples()
        yield from waiting.samples()
    yield from background.samples()


def measured(rounds: int, output: Path) -> Costs:
    """Measure everything so often; return the costs. All samples go to a file, a line each."""
    output.unlink(missing_ok=True)
    write(output, samples(rounds))
    known = {name: text for name, text in machine() if name in MACHINE}
    costs = found(read(output), datetime.now(UTC).date().isoformat(), known)
    costs.write(output.with_suffix(".json"))
    return costs
