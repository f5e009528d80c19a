"""How fast contents go in and out, beside the same bytes through a bare Hypercorn.

    python -m tests.benchmarks.contents [MiB] [rounds]

Everything runs on this machine: two nodes, Valkey, a bare application on Hypercorn's
Trio worker that reads and drops a body, or sends one, and one client. In each round all
ways are measured in turn, and the ratios taken. The content goes in through one node
and out through the other. In the end: the most memory that each node ever had, how long
Redis took to be rid of a content, and what a client with PING waited for meanwhile.
"""

import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config, Sockets
from hypercorn.trio.run import worker_serve
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

from tests.nodes import Cluster

MIB = 1024 * 1024
PIECE = bytes(range(256)) * 1024  # as long as a chunk


async def bare(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """Read a body and drop it, or send as many bytes as the path says."""
    if scope["type"] == "lifespan":
        while True:
            event = await receive()
            if event["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                await send({"type": "lifespan.shutdown.complete"})
                return
    assert scope["type"] == "http"
    size = int(scope["path"][1:]) if scope["method"] == "GET" else 0
    while scope["method"] == "POST":
        event = await receive()
        if event["type"] != "http.request" or not event["more_body"]:
            break
    length = (b"content-length", str(size).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    for _ in range(size // len(PIECE)):
        await send({"type": "http.response.body", "body": PIECE, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def serve_bare() -> None:
    """Serve the bare application on a free port."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    config = Config()
    config.loglevel = "WARNING"
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    await worker_serve(ASGIWrapper(bare), config, sockets=Sockets([], [listener], []))


def ask(url: str, method: str, path: str, size: int = 0) -> tuple[str, float]:
    """Send a request, with a body of `size`; return the answer's head and the MiB/s of its body."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 80)) as connection:
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\nConnection: close\r\n"
        began = time.perf_counter()
        connection.sendall(f"{head}Content-Length: {size}\r\n\r\n".encode())
        for _ in range(size // len(PIECE)):
            connection.sendall(PIECE)
        answer, taken = b"", bytearray(len(PIECE))
        while b"\r\n\r\n" not in answer:
            answer += connection.recv(4096)
        found, _, begun = answer.partition(b"\r\n\r\n")
        got = len(begun)
        while some := connection.recv_into(taken):
            got += some
        elapsed = time.perf_counter() - began
    if not found.startswith(b"HTTP/1.1 2"):
        raise RuntimeError(found.decode())
    return found.decode(), max(size, got) / MIB / elapsed


def location(head: str) -> str:
    """The path of what a request made."""
    (line,) = [line for line in head.splitlines() if line.lower().startswith("location:")]
    return urlsplit(line.partition(": ")[2]).path


def peak(pid: int) -> float:
    """The most MiB that a process ever had in memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


class Pings(threading.Thread):
    """PINGs to Redis, one after the other: what others wait for."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(daemon=True)
        self._redis = cluster.redis.client()
        self._going = True
        self.waits: list[float] = []

    def run(self) -> None:
        while self._going:
            began = time.perf_counter()
            self._redis.ping()
            self.waits.append(1000 * (time.perf_counter() - began))
            time.sleep(0.002)

    def stop(self) -> str:
        self._going = False
        self.join()
        waits = sorted(self.waits)
        p99 = waits[int(0.99 * len(waits))]
        return f"median {statistics.median(waits):.2f}, p99 {p99:.2f}, worst {waits[-1]:.2f} ms"


def measure(cluster: Cluster, plain: str, size: int, rounds: int) -> None:
    """Measure all ways in turn, and print them."""
    up: list[tuple[float, float]] = []
    down: list[tuple[float, float]] = []
    feed, redis = "/restms/feed/default", cluster.redis.client()
    before = [peak(node.process.pid) for node in cluster.nodes]
    for number in range(rounds):
        _, plain_up = ask(plain, "POST", "/", size)
        pings = Pings(cluster)
        pings.start()
        head, ours_up = ask(cluster.urls[0], "POST", feed, size)
        waited = [pings.stop()]
        _, plain_down = ask(plain, "GET", f"/{size}")
        pings = Pings(cluster)
        pings.start()
        _, ours_down = ask(cluster.urls[1], "GET", location(head))
        waited.append(pings.stop())
        up.append((ours_up, plain_up))
        down.append((ours_down, plain_down))
        pings = Pings(cluster)
        pings.start()
        began = time.perf_counter()
        ask(cluster.urls[0], "DELETE", location(head))
        answered = time.perf_counter() - began
        while redis.exists("restms:{default}:loose"):
            time.sleep(0.01)
        freed = time.perf_counter() - began
        waited.append(pings.stop())
        print(f"round {number + 1}: in {ours_up:.0f} of {plain_up:.0f} MiB/s, ", end="")
        print(f"out {ours_down:.0f} of {plain_down:.0f}; ", end="")
        print(f"deleted in {1000 * answered:.1f} ms, freed after {freed:.1f} s")
        for what, text in zip(("in", "out", "freed"), waited, strict=True):
            print(f"    PING while it goes {what}: {text}")
    for what, pairs in (("in", up), ("out", down)):
        ratio = statistics.median(ours / other for ours, other in pairs)
        print(f"{what}: median ratio {ratio:.2f}")
    for name, node, least in zip("12", cluster.nodes, before, strict=True):
        most = peak(node.process.pid)
        print(f"node {name}: {least:.1f} MiB before, at most {most:.1f} MiB")


def main() -> None:
    if sys.argv[1:] == ["bare"]:
        trio.run(serve_bare)
        return
    mib, rounds = _arguments()
    command = [sys.executable, "-m", "tests.benchmarks.contents", "bare"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ) as other:
        assert other.stdout is not None
        plain = other.stdout.readline().decode().strip()
        try:
            with Cluster(2) as cluster:
                measure(cluster, plain, mib * MIB, rounds)
        finally:
            other.terminate()


def _arguments() -> tuple[int, int]:
    given = [int(text) for text in sys.argv[1:]]
    return given[0] if given else 256, given[1] if len(given) > 1 else 5


if __name__ == "__main__":
    main()
