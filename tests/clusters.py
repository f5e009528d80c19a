"""A real Redis Cluster for tests: up in about a second, to be failed over, killed or resharded.

with RedisCluster() as redis, Cluster(2, redis=redis) as nodes:
    redis.primary("default").kill()      # its replica takes over
    redis.until_served("default")        # ... and has done so
    redis.move("sales", redis.primary("default"))
"""

import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from redis.crc import key_slot

from restms_cluster.keys import domain_key
from tests.servers import Server, free_port
from tests.waiting import wait_until

SECONDS = 20.0
SLOTS = 16384
NODE_TIMEOUT = 1000  # milliseconds without a sign after which a server counts as gone


class RedisCluster:
    """Primaries that share the slots evenly, in the order of `servers`, and replicas of each.

    Three shards are the fewest that can outvote a primary that was killed.

    `servers` are all of them: first the primaries, then the replicas of the
    first, of the second and so on. It is closed by `close`, or at the end of `with`.
    """

    def __init__(self, shards: int = 3, replicas: int = 1, *options: str) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="restms-cluster-"))
        self.servers: list[Server] = []
        self._bus: list[int] = []  # the ports by which the servers talk to each other
        try:
            for number in range(shards * (1 + replicas)):
                self.servers.append(self._started(number, options))
            self._join(shards, replicas)
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        """What nodes are given as their --redis."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in self.servers)

    def client(self, domain: str = "default") -> "redis.Redis":
        """Return a plain client of the server that serves a domain now."""
        return self.primary(domain).client()

    def primary(self, domain: str) -> Server:
        """Return the server that serves a domain, as most of those that run see it."""
        return self._server(self._owner(slot(domain)))

    def replicas(self, domain: str) -> list[Server]:
        """Return the replicas of the server that serves a domain."""
        owner = self._owner(slot(domain))
        found = (line for line in self._lines() if "slave" in line[2] and line[3] == owner)
        return [self._server(line[0]) for line in found if "fail" not in line[2].split(",")]

    def fail_over(self, domain: str) -> Server:
        """Let a replica take a domain's shard over in order; return it once it serves."""
        before, successor = self.primary(domain), self.replicas(domain)[0]
        with successor.client() as client:
            client.execute_command("CLUSTER", "FAILOVER")
        wait_until(lambda: self.primary(domain) is successor)
        assert before is not successor
        return successor

    def until_served(self, domain: str) -> Server:
        """Wait until a server that runs takes a domain's writes; return it."""

        def serves() -> bool:
            primary = self.primary(domain)
            if not primary.running:
                return False
            with primary.client() as client:
                # Valkey says "master" of a cluster's primary, too.
                return client.role()[0] == b"master" and _state(client) == "ok"

        wait_until(serves)
        return self.primary(domain)

    def move(self, domain: str, to: Server) -> None:
        """Move a domain's slot as Valkey 9 does it, in one step; return when it is there."""
        number = slot(domain)
        with self.client(domain) as client:
            client.execute_command(
                *("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", number, number, "NODE", self._id(to))
            )
        wait_until(lambda: self.primary(domain) is to)

    def begin_move(self, domain: str, to: Server) -> None:
        """Begin to move a domain's slot as all versions do it, key by key."""
        number, source = slot(domain), self.primary(domain)
        with source.client() as old, to.client() as new:
            new.execute_command("CLUSTER", "SETSLOT", number, "IMPORTING", self._id(source))
            old.execute_command("CLUSTER", "SETSLOT", number, "MIGRATING", self._id(to))

    def move_keys(self, domain: str, to: Server, count: int) -> int:
        """Move so many keys of a slot whose move has begun; return how many there were."""
        with self.client(domain) as client:
            keys = client.execute_command("CLUSTER", "GETKEYSINSLOT", slot(domain), count)
            if keys:
                client.execute_command(
                    *("MIGRATE", "127.0.0.1", to.port, "", 0, 5000, "KEYS", *keys)
                )
            return len(keys)

    def end_move(self, domain: str, to: Server) -> None:
        """Give the slot to the server that has all its keys now."""
        source = self.primary(domain)
        for server in (to, source):
            with server.client() as client:
                client.execute_command("CLUSTER", "SETSLOT", slot(domain), "NODE", self._id(to))
        wait_until(lambda: self.primary(domain) is to)

    def close(self) -> None:
        """Kill all servers and remove their files."""
        for server in self.servers:
            server.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _started(self, number: int, options: tuple[str, ...]) -> Server:
        directory = self._directory / str(number)
        directory.mkdir()
        self._bus.append(free_port())
        return Server(
            directory,
            *("--cluster-enabled", "yes", "--cluster-port", str(self._bus[-1])),
            *("--cluster-node-timeout", str(NODE_TIMEOUT), "--cluster-replica-validity-factor"),
            *("0", "--repl-diskless-sync-delay", "0", "--protected-mode", "no"),
            *options,
            tcp=True,
        )

    def _join(self, shards: int, replicas: int) -> None:
        bounds = [SLOTS * number // shards for number in range(shards + 1)]
        first = self.servers[0]
        for number, server in enumerate(self.servers):
            with server.client() as client:
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
                if number < shards:
                    last = bounds[number + 1] - 1
                    client.execute_command("CLUSTER", "ADDSLOTSRANGE", bounds[number], last)
                if server is not first:
                    client.execute_command("CLUSTER", "MEET", "127.0.0.1", first.port, self._bus[0])
        wait_until(lambda: all(self._knows_all(server) for server in self.servers))
        for number, server in enumerate(self.servers[shards:]):
            with server.client() as client:
                primary = self.servers[number // replicas]
                client.execute_command("CLUSTER", "REPLICATE", self._id(primary))
        wait_until(lambda: all(self._is_complete(server, shards) for server in self.servers))

    def _knows_all(self, server: Server) -> bool:
        lines = _nodes(server)
        return len(lines) == len(self.servers) and all("handshake" not in line[2] for line in lines)

    def _is_complete(self, server: Server, shards: int) -> bool:
        with server.client() as client:
            if _state(client) != "ok":
                return False
            role = client.role()
        primaries = sum("master" in line[2] for line in _nodes(server))
        return primaries == shards and (role[0] == b"master" or role[3] == b"connected")

    def _lines(self) -> list[list[str]]:
        """Return the lines of CLUSTER NODES of the server that knows the latest epoch."""
        running = [_nodes(server) for server in self.servers if server.running]
        return max(running, key=lambda lines: max(int(line[6]) for line in lines))

    def _owner(self, number: int) -> str:
        for line in self._lines():
            for part in line[8:]:
                first, _, last = part.partition("-")
                if not part.startswith("[") and int(first) <= number <= int(last or first):
                    return line[0]
        raise AssertionError(f"Nobody serves slot {number}.")

    def _id(self, server: Server) -> str:
        with server.client() as client:
            return str(_text(client.execute_command("CLUSTER", "MYID")))

    def _server(self, name: str) -> Server:
        port = next(int(_port(line[1])) for line in self._lines() if line[0] == name)
        return next(server for server in self.servers if server.port == port)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def slot(domain: str) -> int:
    """Return the slot that all keys of a domain are in."""
    return int(key_slot(domain_key(domain).encode()))  # type: ignore[no-untyped-call]


def domains_apart(shards: int) -> list[str]:
    """Return names of domains, one for each shard of a cluster of so many, in their order."""
    found: dict[int, str] = {}
    for number in range(10_000):
        name = f"domain{number}"
        found.setdefault(slot(name) * shards // SLOTS, name)
        if len(found) == shards:
            break
    return [found[number] for number in range(shards)]


def _nodes(server: Server) -> list[list[str]]:
    with redis.Redis.from_url(server.url, protocol=2, socket_timeout=SECONDS) as client:
        lines = _text(_raw(client, "CLUSTER", "NODES")).splitlines()
    return [line.split() for line in lines]


def _raw(client: "redis.Redis", *command: str) -> Any:
    """Ask without redis-py's own reading of the answer."""
    client.response_callbacks.clear()
    return client.execute_command(*command)


def _state(client: "redis.Redis") -> str:
    info = _text(_raw(client, "CLUSTER", "INFO"))
    return info.partition("cluster_state:")[2].split()[0]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _port(address: str) -> str:
    return address.partition("@")[0].rpartition(":")[2]
