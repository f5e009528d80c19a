"""Can a server serve: what it is, who may reach it, how fast and how long it answers."""

import statistics
from collections.abc import Callable
from ipaddress import ip_address

from restms_cluster.connection import OLDEST_REDIS
from restms_cluster.findings import Finding, Grade, Seen, Wanted, ok, setting, unseen

SLOW_SECONDS = 0.005  # median of an answer to PING
SLOW_FORK_MICROSECONDS = 500_000
FRAGMENTED = 1.5
SWAPPED = 0.9
LARGE = 256 << 20  # bytes from which on the ratio of fragmentation means something
CLOCK_SECONDS = 1.0
CROWDED = 0.8
LARGE_NODES = 1024

_SAFE_LUA = {
    "redis": {(7, 2): 11, (7, 4): 6, (8, 0): 4, (8, 2): 2},
    "valkey": {(7, 2): 11, (8, 0): 6, (8, 1): 4},
}
"""By line, the first release in which scripts cannot break out (CVE-2025-49844)."""


def check_version(seen: Seen, _: Wanted) -> Finding:
    """Look whether it is new enough."""
    word, name = "version", seen.hello.get("server", "redis").lower()
    told = seen.info.get("valkey_version", seen.hello.get("version", ""))
    found = f"{name} {told}"
    numbers = [int(part) for part in told.split(".")[:3] if part.isdecimal()]
    if len(numbers) < 2:
        return unseen(word, "its version")
    if name == "redis" and tuple(numbers[:2]) < OLDEST_REDIS:
        return Finding(
            word,
            Grade.FAILURE,
            found,
            ("install Redis 7.0 or later, or any Valkey",),
            "The scripts need what came with 7.0; nodes do not start.",
        )
    lines = _SAFE_LUA.get(name, {})
    line, patch = (numbers[0], numbers[1]), numbers[2] if len(numbers) > 2 else 0
    safe = lines.get(line, 0 if not lines or line > max(lines) else None)
    if safe is None or patch < safe:
        newer = f"{line[0]}.{line[1]}.{safe}" if safe else "a newer one"
        return Finding(
            word,
            Grade.HINT,
            found,
            (f"install {newer}, unless your distribution has mended this one",),
            "Who may run scripts could take this server over (CVE-2025-49844): keep its users few.",
        )
    return ok(word, found)


def check_mode(seen: Seen, _: Wanted) -> Finding:
    """Look whether it is of the kind that the URL says."""
    word, mode = "mode", seen.hello.get("mode", "standalone")
    if mode == ("cluster" if seen.kind == "cluster" else "standalone"):
        return ok(word, mode)
    scheme = {"cluster": "redis+cluster://", "sentinel": "redis+sentinel://"}.get(mode, "redis://")
    return Finding(
        word,
        Grade.FAILURE,
        f"the server is in the mode {mode}",
        (f"name it by {scheme}",),
        "Nodes do not start on a server of another kind than their URL says.",
    )


def check_tls(seen: Seen, _: Wanted) -> Finding:
    """Look whether others on the way can read along."""
    address = seen.address
    if address.path is not None or address.tls is not None or _is_here(address.host):
        return ok("tls", "nobody on the way can read along")
    return Finding(
        "tls",
        Grade.WARNING,
        "the connection is not encrypted",
        ("the server: tls-port, tls-cert-file, tls-key-file, tls-ca-cert-file", "rediss://…"),
        "Who sees the network reads all messages, and the password. Where the network is yours "
        "alone, let it be.",
    )


def check_authentication(seen: Seen, _: Wanted) -> Finding:
    """Look whether anybody is let in."""
    address = seen.address
    if address.path is not None or address.password is not None:
        return ok("authentication", "who connects must be somebody")
    if address.tls is not None and address.tls.certfile is not None:
        return ok("authentication", "who connects shows a certificate")
    return Finding(
        "authentication",
        Grade.WARNING,
        "whoever reaches the server is let in",
        (
            "redis.conf: aclfile /etc/redis/users.acl, with a user for the nodes",
            "the nodes: RESTMS_REDIS=redis://USER:PASSWORD@…",
        ),
        "Who is let in reads, deletes and forges all messages, without any authenticator.",
    )


def check_timeout(seen: Seen, _: Wanted) -> Finding:
    """Look whether it closes connections that are idle."""
    word, seconds = "timeout", seen.count("timeout")
    if seconds is None:
        return unseen(word, "whether it closes idle connections")
    if seconds == 0:
        return ok(word, "idle connections stay")
    return Finding(
        word,
        Grade.WARNING,
        f"connections are closed after {seconds} idle seconds",
        setting(word, "0"),
        "A quiet node's connection is closed, and the next request meets that.",
    )


def check_keepalive(seen: Seen, _: Wanted) -> Finding:
    """Look whether it notices clients that are gone."""
    word, seconds = "tcp-keepalive", seen.count("tcp-keepalive")
    if seen.address.path is not None:
        return ok(word, "not needed on a Unix socket")
    if seconds is None:
        return unseen(word, "whether it looks for clients that are gone")
    if seconds > 0:
        return ok(word, f"clients that are gone are noticed, by probes each {seconds} seconds")
    return Finding(
        word,
        Grade.WARNING,
        "clients that are gone are not noticed",
        setting(word, "300"),
        "A node's machine that crashes leaves its connections here for ever, until maxclients.",
    )


def check_clients(seen: Seen, _: Wanted) -> Finding:
    """Look whether there is room for more connections."""
    word, most, now = "maxclients", seen.count("maxclients"), seen.count("connected_clients")
    if most is None or now is None:
        return unseen(word, "how many connections it has")
    if now < CROWDED * most:
        return ok(word, f"{now:,} connections of {most:,}")
    return Finding(
        word,
        Grade.WARNING,
        f"{now:,} connections of {most:,}",
        setting(word, str(max(10_000, 2 * most))),
        "Nodes need up to three each (for each worker). Without room they cannot come back: 503.",
    )


def check_latency(seen: Seen, _: Wanted) -> Finding:
    """Look whether it answers soon."""
    word = "latency"
    if not seen.pings:
        return unseen(word, "how fast it is")
    median = statistics.median(seen.pings)
    found = f"half of {len(seen.pings)} answers came within {median * 1000:.2f} ms"
    if median <= SLOW_SECONDS:
        return ok(word, found)
    return Finding(
        word,
        Grade.WARNING,
        found,
        ("run nodes and Redis in one zone; see what else the server does (SLOWLOG GET)",),
        "Each request waits for Redis once at least.",
    )


def check_stalls(seen: Seen, _: Wanted) -> Finding:
    """Look whether its disk or forks hold it up."""
    word, fork = "stalls", seen.count("latest_fork_usec")
    delayed = seen.count("aof_delayed_fsync")
    if fork is None and delayed is None:
        return unseen(word, "whether it was held up")
    if fork is not None and fork > SLOW_FORK_MICROSECONDS:
        return Finding(
            word,
            Grade.WARNING,
            f"the last fork took {fork / 1_000_000:.1f} seconds",
            ("spread domains over a Redis Cluster; keep fewer contents in it",),
            "Nothing is answered meanwhile: at each rewrite of its file, and each copy.",
        )
    if delayed:
        return Finding(
            word,
            Grade.HINT,
            f"its disk was late {delayed:,} times since it started",
            ("a faster disk, of its own", "see INFO persistence: aof_delayed_fsync"),
            "Writing stops when a flush takes more than two seconds.",
        )
    return ok(word, "neither its disk nor a fork holds it up")


def check_fragmentation(seen: Seen, _: Wanted) -> Finding:
    """Look whether it takes more memory than it uses, or is swapped out."""
    word, used = "fragmentation", seen.count("used_memory")
    told = seen.info.get("mem_fragmentation_ratio", "")
    if used is None or not told.replace(".", "", 1).isdecimal():
        return unseen(word, "how its memory is used")
    ratio = float(told)
    found = f"it takes {ratio:.2f} bytes for each that it uses"
    if used < LARGE or SWAPPED <= ratio <= FRAGMENTED:
        return ok(word, found)
    if ratio < SWAPPED:
        return Finding(
            word,
            Grade.WARNING,
            f"{found}: the rest is swapped out",
            ("give the machine more memory, or the server a smaller maxmemory",),
            "What is swapped out takes a thousand times as long.",
        )
    return Finding(
        word,
        Grade.HINT,
        found,
        setting("activedefrag", "yes"),
        "The rest is of no use to anybody.",
    )


def check_nodes_of_streams(seen: Seen, _: Wanted) -> Finding:
    """Look whether small pipes take much memory."""
    word, size = "stream-node-max-bytes", seen.count("stream-node-max-bytes")
    if size is None:
        return unseen(word, "how large the nodes of its streams are")
    if 0 < size <= LARGE_NODES:
        return ok(word, f"{size} bytes")
    return Finding(
        word,
        Grade.HINT,
        f"{size} bytes",
        setting(word, str(LARGE_NODES)),
        "Each pipe that holds a message takes so much at least. Where there are very many pipes, "
        "that saves memory; long queues then take some 8 % more.",
    )


def check_clock(seen: Seen, _: Wanted) -> Finding:
    """Look whether its clock tells the time."""
    word, way = "clock", "before" if seen.ahead > 0 else "behind"
    found = f"{abs(seen.ahead):.2f} seconds {way} this machine's"
    if abs(seen.ahead) <= CLOCK_SECONDS:
        return ok(word, found)
    return Finding(
        word,
        Grade.WARNING,
        found,
        ("run chrony or systemd-timesyncd on both machines",),
        "Delays and expirations are by Redis's clock, and so are Last-Modified and the numbers of "
        "messages after a failover.",
    )


CHECKS: tuple[Callable[[Seen, Wanted], Finding], ...] = (
    check_version,
    check_mode,
    check_tls,
    check_authentication,
    check_timeout,
    check_keepalive,
    check_clients,
    check_latency,
    check_stalls,
    check_fragmentation,
    check_nodes_of_streams,
    check_clock,
)


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
