"""A primary with replicas that real Sentinels watch, for tests: to be killed, frozen, failed over.

with Sentinels() as redis, Cluster(2, redis=redis) as nodes:
    old = redis.primary()
    old.kill()                     # or .pause(), and .resume() as a zombie
    redis.until_switched(old)      # a replica is the primary now
"""

import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from tests.servers import Server, find_binary, free_port
from tests.waiting import wait_until

NAME = "restms"  # what the sentinels call the primary
DOWN_AFTER = 500  # milliseconds without a sign after which a server counts as gone


class Sentinel(Server):
    """One sentinel; `url` is its own."""

    def __init__(self, directory: Path, primary: Server, quorum: int, *lines: str) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.log = directory / "sentinel.log"
        configuration = directory / "sentinel.conf"
        configuration.write_text(
            "\n".join(
                (
                    f"port {self.port}\nbind 127.0.0.1\ndir {directory}",
                    f"sentinel monitor {NAME} 127.0.0.1 {primary.port} {quorum}",
                    f"sentinel down-after-milliseconds {NAME} {DOWN_AFTER}",
                    f"sentinel failover-timeout {NAME} 3000",
                    *lines,
                    "",
                )
            )
        )
        self._command = [str(find_binary()), str(configuration), "--sentinel"]
        self.start()

    def close(self) -> None:
        """Kill the process."""
        self.kill()


class Sentinels:
    """A primary, its replicas, and the sentinels; `servers` has the first primary first.

    `options` are further ones of the servers, `lines` of the sentinels' configuration.
    """

    def __init__(
        self, replicas: int = 1, sentinels: int = 3, *options: str, lines: tuple[str, ...] = ()
    ) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="restms-sentinels-"))
        self.servers: list[Server] = []
        self.sentinels: list[Sentinel] = []
        try:
            for number in range(1 + replicas):
                self._start_server(f"server-{number}", options)
            wait_until(self._is_complete)
            for number in range(sentinels):
                directory = self._directory / f"sentinel-{number}"
                directory.mkdir()
                primary, quorum = self.servers[0], sentinels // 2 + 1
                self.sentinels.append(Sentinel(directory, primary, quorum, *lines))
            wait_until(lambda: all(self._knows_all(sentinel) for sentinel in self.sentinels))
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        """What nodes are given as their --redis."""
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/0?master={NAME}"

    def client(self, _domain: str = "default") -> "redis.Redis":
        """Return a plain client of the server that is the primary now, of all domains."""
        return self.primary().client()

    def primary(self) -> Server:
        """Return the server that the first sentinel that runs takes for the primary."""
        sentinel = next(sentinel for sentinel in self.sentinels if sentinel.running)
        with sentinel.client() as client:
            _, port = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)
        return next(server for server in self.servers if server.port == int(port))

    def fail_over(self) -> Server:
        """Have the sentinels make a replica the primary, though nothing is wrong; return it."""
        before = self.primary()
        with self.sentinels[0].client() as client:
            client.execute_command("SENTINEL", "FAILOVER", NAME)
        return self.until_switched(before)

    def until_switched(self, before: Server) -> Server:
        """Wait until all sentinels have another primary than that one; return the other."""

        def switched() -> bool:
            now = {_told(sentinel) for sentinel in self.sentinels if sentinel.running}
            return len(now) == 1 and now != {before.port}

        wait_until(switched)
        return self.primary()

    def until_replicated(self) -> None:
        """Wait until all servers that run have what the primary has now, so that any may follow."""
        primary = self.primary()
        with primary.client() as client:
            reached = client.info("replication")["master_repl_offset"]

            def have_it() -> bool:
                found = client.info("replication")
                told = [found[f"slave{number}"] for number in range(found["connected_slaves"])]
                others = [one for one in self.servers if one.running and one is not primary]
                return len(told) == len(others) and all(
                    one["state"] == "online" and one["offset"] >= reached for one in told
                )

            wait_until(have_it, seconds=60)  # sentinels tell one after the other whom to follow

    def close(self) -> None:
        """Kill all processes and remove their files."""
        for process in (*self.sentinels, *self.servers):
            process.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _start_server(self, name: str, options: tuple[str, ...]) -> None:
        directory = self._directory / name
        directory.mkdir()
        follows = ("--replicaof", f"127.0.0.1 {self.servers[0].port}") if self.servers else ()
        quick = ("--repl-diskless-sync-delay", "0")
        self.servers.append(Server(directory, *quick, *follows, *options, tcp=True))

    def _is_complete(self) -> bool:
        with self.servers[0].client() as client:
            replicas = client.info("replication")
        following = [
            replicas[f"slave{number}"]["state"] == "online"
            for number in range(replicas["connected_slaves"])
        ]
        return len(following) == len(self.servers) - 1 and all(following)

    def _knows_all(self, sentinel: Sentinel) -> bool:
        with sentinel.client() as client:
            client.response_callbacks.clear()
            facts = client.execute_command("SENTINEL", "MASTER", NAME)
            found = dict(zip(facts[::2], facts[1::2], strict=True))
            replicas = client.execute_command("SENTINEL", "REPLICAS", NAME)
        return (
            int(found[b"num-other-sentinels"]) == len(self.sentinels) - 1
            and len(replicas) == len(self.servers) - 1
            and all(b"slave" in fact for fact in replicas)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _told(sentinel: Sentinel) -> int:
    with sentinel.client() as client:
        return int(client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)[1])
