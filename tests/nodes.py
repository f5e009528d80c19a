"""Real nodes for tests: processes on one Redis, to be stopped, killed or frozen at will."""

import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import redis

from tests.servers import start_server

START_SECONDS = 40.0  # several nodes may start at once on a small, busy machine
STOP_SECONDS = 10.0
LISTENS = re.compile(rb"restms \S+ listens on (http://\S+:\d+), data in .*\n")
ANY_PORT = "127.0.0.1:0"


class Redis(Protocol):
    """What the nodes share: a Server, a RedisCluster or Sentinels."""

    @property
    def url(self) -> str: ...

    def client(self) -> "redis.Redis": ...

    def close(self) -> None: ...


class Node:
    """One node's process. `url` stays the same when it is started again."""

    def __init__(
        self,
        directory: Path,
        name: str,
        redis: str,
        options: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.url = ""
        self._redis = redis
        self._options = tuple(options)
        # A developer's own settings are none of the tests' business.
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("RESTMS_")}
        self._env = {**inherited, **(env or {})}
        self._bind = ANY_PORT
        self._log = directory / f"{name}.log"
        self.process: subprocess.Popen[bytes]
        self.spawn()

    def spawn(self) -> None:
        """Start the process; `await_url` tells when it serves."""
        # Ours come first, so that a test's own options have the last word.
        command = [
            *(sys.executable, "-m", "restms_node", "serve"),
            *("--bind", self._bind, "--redis", self._redis),
            *("--drain-delay-seconds", "0"),
            *("--hosts", "*"),  # tests ask by any name
            *self._options,
        ]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, env=self._env
            )

    def await_url(self) -> str:
        """Return the node's URL once it listens; RuntimeError with its log if it never does."""
        found = LISTENS.search(self._first_line())
        if found is None:
            self.kill()
            raise RuntimeError(f"The node {self.name} did not start:\n{self.log()}")
        self.url = found[1].decode()
        self._bind = self.url.removeprefix("http://")
        return self.url

    def log(self) -> str:
        """Return what the node has written to its standard error."""
        return self._log.read_text(errors="replace")

    def signal(self, what: signal.Signals) -> None:
        """Send a signal and do not wait for what comes of it."""
        self.process.send_signal(what)

    def terminate(self) -> int:
        """Let the node drain, as an orchestrator does; return its exit code."""
        self.signal(signal.SIGTERM)
        return self.ended()

    def ended(self) -> int:
        """Wait for the process's end and return its exit code; killed if it does not come."""
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(STOP_SECONDS)
            raise RuntimeError(f"The node {self.name} did not stop:\n{self.log()}") from None
        finally:
            self._close_output()

    def kill(self) -> None:
        """End the process at once, with all that it holds."""
        self.process.kill()
        self.process.wait(STOP_SECONDS)
        self._close_output()

    def pause(self) -> None:
        """Freeze the process: its connections stay open and nothing is answered."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen process go on."""
        self.signal(signal.SIGCONT)

    def restart(self) -> None:
        """Kill the process if it still runs, and start it again on the same port."""
        self.kill()
        self.spawn()
        self.await_url()

    def close(self) -> None:
        """End the process, if it still runs, in whatever state it is."""
        if self.process.poll() is None:
            self.resume()
            self.terminate()
        self._close_output()

    def _first_line(self) -> bytes:
        output = self.process.stdout
        assert output is not None
        read, deadline = b"", time.monotonic() + START_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while b"\n" not in read:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    return read
                some = os.read(output.fileno(), 4096)
                if not some:  # the process ended without a line
                    return read
                read += some
        return read

    def _close_output(self) -> None:
        if self.process.stdout is not None:
            self.process.stdout.close()


class Cluster:
    """Nodes on one Redis, which has nothing in it at first.

    with Cluster(2) as cluster:
        httpx.get(cluster.nodes[0].url + "/restms/domain/default")

    A `redis` that is given is not closed with the nodes.
    """

    def __init__(
        self,
        nodes: int = 2,
        *options: str,
        env: Mapping[str, str] | None = None,
        redis_options: Sequence[str] = (),
        redis: Redis | None = None,
    ) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="restms-nodes-"))
        self._options = options
        self._env = env
        self._owns_redis = redis is None
        self.redis = redis or start_server(self._directory, *redis_options)
        self.nodes: list[Node] = []
        try:
            # All at once: a node's start is mostly Python's.
            for number in range(nodes):
                self.nodes.append(self._spawned(number))
            for node in self.nodes:
                node.await_url()
        except BaseException:
            self.close()
            raise

    @property
    def urls(self) -> list[str]:
        """The URL of each node, in order."""
        return [node.url for node in self.nodes]

    def add(self, *options: str, env: Mapping[str, str] | None = None) -> Node:
        """Start one more node, whose options come after those of the cluster."""
        node = self._spawned(len(self.nodes), *options, env=env)
        self.nodes.append(node)
        node.await_url()
        return node

    def log(self) -> str:
        """Return what all nodes have written to their standard error."""
        return "\n".join(f"--- {node.name}\n{node.log()}" for node in self.nodes)

    def close(self) -> None:
        """Stop the nodes, then Redis, and remove all files."""
        try:
            for node in self.nodes:
                node.close()
        finally:
            for node in self.nodes:
                node.process.kill()  # does nothing where it has ended
            if self._owns_redis:
                self.redis.close()
            shutil.rmtree(self._directory, ignore_errors=True)

    def _spawned(self, number: int, *options: str, env: Mapping[str, str] | None = None) -> Node:
        both = {**(self._env or {}), **(env or {})}
        name = f"node-{number + 1}"
        return Node(self._directory, name, self.redis.url, (*self._options, *options), both)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
