"""How much of a node's memory an idle waiting asynclet takes, by the lane and over Hypercorn.

    python -m tests.benchmarks.waits [waits]

So many connections each ask for the message that comes next, once all of one pipe
and once each of a pipe of its own. What counts is by how much the node's resident memory
has grown when all of them wait. The first few hundred, for which the node gets its
caches and arenas, do not count.
"""

import os
import resource
import socket
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from tests.benchmarks import bulk
from tests.nodes import Cluster, Node

WAITS = 5000
FIRST = 500
REST_SECONDS = 1.0
RESTING_TICKS = 5
PREFER_SECONDS = 3600


def resident(node: Node) -> int:
    """The node's resident memory, in bytes."""
    fields = Path(f"/proc/{node.process.pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def await_rest(node: Node) -> None:
    """Return when the node has nothing to do any more: all that wait are parked then."""
    before = -1
    while (spent := ticks(node)) > before + RESTING_TICKS:
        before = spent
        time.sleep(REST_SECONDS)


def ticks(node: Node) -> int:
    """What the node has had of the processor."""
    fields = Path(f"/proc/{node.process.pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def request(host: str, pipe: int, prefer: str) -> bytes:
    """A request for the first message of a pipe."""
    return (
        f"GET /restms/resource/p{bulk.secret(pipe)}-1 HTTP/1.1\r\nHost: {host}\r\n"
        f"User-Agent: waits/1.0\r\nAccept: application/restms+xml\r\nPrefer: {prefer}\r\n\r\n"
    ).encode()


def bytes_a_wait(waits: int, *, lane: bool, pipes: int) -> float:
    """Return what a wait takes, in bytes."""
    options = ("--max-waits", str(waits), "--wait-seconds", str(PREFER_SECONDS))
    switch = ("--lane", "on" if lane else "off")
    with (
        Cluster(1, *options, *switch, "--reread-seconds", "3600") as cluster,
        cluster.redis.client() as redis,
    ):
        bulk.run_all(redis, list(bulk.pipes(pipes)))
        node, url = cluster.nodes[0], cluster.urls[0]
        parts = urlsplit(url)
        held: list[socket.socket] = []
        before = 0
        try:
            for number in range(waits):
                if number == FIRST:
                    await_rest(node)
                    before = resident(node)
                one = socket.create_connection((parts.hostname, parts.port))
                one.sendall(request(parts.netloc, 1 + number % pipes, f"wait={PREFER_SECONDS}"))
                held.append(one)
            await_rest(node)
            return (resident(node) - before) / (waits - FIRST)
        finally:
            node.kill()  # to end thousands of waits in peace would take it a while
            for one in held:
                one.close()


def main() -> None:
    waits = int(sys.argv[1]) if len(sys.argv) > 1 else WAITS
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(f"{waits} waits{'lane':>20}{'Hypercorn':>20}")
    for text, pipes in (("on one pipe", 1), ("each on its own", waits)):
        found = [bytes_a_wait(waits, lane=lane, pipes=pipes) for lane in (True, False)]
        print(f"{text:>16}{found[0] / 1000:14.1f} KB{found[1] / 1000:17.1f} KB", flush=True)


if __name__ == "__main__":
    main()
