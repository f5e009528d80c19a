"""How long an acknowledged message is not on the disk, and what it costs that it is.

    .venv/bin/python -m tests.reliability.disk [seconds]

Redis runs under strace, which tells when each fdatasync of its append-only file began and ended.
A message is taken to be on the disk when the first one that began after its acknowledgement (with
appendfsync always: after it was sent) has ended. Until then a crash of the machine would lose it;
a crash of Redis alone would not, for what Redis has written to the file the system keeps.
Then the speed of each level is measured, without strace.
"""

import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from restms_cluster.levels import Durability, Level
from tests.reliability.broker import Publishers, joined, reader
from tests.servers import Server, find_binary, start_replica, start_server

SYNC = re.compile(r"^(\d+) (\d+\.\d+) (?:<\.\.\. )?fdatasync(.*)$")
TOOK = re.compile(r"<(\d+\.\d+)>$")


@contextmanager
def traced(directory: Path, fsync: str) -> Iterator[tuple[Server, Path]]:
    """A server under strace, and where that writes."""
    trace = directory / "trace"
    wrapper = directory / "traced-server"
    strace = f"exec {shutil.which('strace')} -f -ttt -T -e trace=fdatasync -o {trace}"
    wrapper.write_text(f'#!/bin/sh\n{strace} {find_binary()} "$@"\n')
    wrapper.chmod(0o700)
    server = start_server(directory, "--appendonly", "yes", "--appendfsync", fsync, binary=wrapper)
    try:
        yield server, trace
    finally:
        with server.client() as client:
            client.shutdown(nosave=True)
        server.close()


def syncs(trace: Path) -> list[tuple[float, float]]:
    """When each fdatasync began and ended."""
    found, begun = [], {}
    for line in trace.read_text().splitlines():
        if (match := SYNC.match(line)) is None:
            continue
        process, at, rest = match[1], float(match[2]), match[3]
        took = TOOK.search(rest)
        if took is None:
            begun[process] = at  # another thread spoke before it ended
        else:
            start = begun.pop(process, at)
            found.append((start, start + float(took[1])))
    return sorted(found)


async def window(fsync: str, seconds: float) -> str:
    """Tell how long messages were not on the disk, and how many at most at a time."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with traced(directory, fsync) as (server, trace):
            async with joined(server.url) as broker:
                await reader(broker)
                publishers = Publishers(broker, 16)
                await publishers.run(seconds)
                await trio.sleep(2.5)
        synced = syncs(trace)
    late: list[tuple[float, float]] = []
    for _, began, told in publishers.sent:
        since = began if fsync == "always" else told
        safe = next((end for start, end in synced if start >= since), None)
        assert safe is not None, "strace saw no fdatasync after a message"
        if safe > told:
            late.append((told, safe))
    longest = max((safe - told for told, safe in late), default=0.0)
    most = max((sum(told <= at < safe for told, safe in late) for at, _ in synced), default=0)
    return (
        f"{fsync:9} acknowledged {len(publishers.sent)}, fdatasyncs {len(synced)}; acknowledged "
        f"before they were on the disk {len(late)}, for {longest:.2f} s at most, "
        f"{most} of them when an fdatasync began"
    )


async def speed(level: str, publishers: int, seconds: float) -> float:
    """Return how many messages a second so many publishers get acknowledged."""
    fsync = {"memory": "", "node": "everysec", "disk": "always", "replicas": "everysec"}[level]
    options = ("--appendonly", "yes", "--appendfsync", fsync) if fsync else ()
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        server = start_server(Path(one), *options, tcp=True)
        replica = start_replica(Path(two), server) if level == "replicas" else None
        try:
            promised = Durability(Level.REPLICAS if replica else Level.NODE)
            async with joined(server.url, promised) as broker:
                await reader(broker)
                load = Publishers(broker, publishers)
                await load.run(seconds)
                return len(load.sent) / seconds
        finally:
            server.close()
            if replica is not None:
                replica.close()


async def main(seconds: float) -> None:
    """Print the windows, and the speed of each level, in alternation."""
    for fsync in ("everysec", "always"):
        print(await window(fsync, seconds), flush=True)
    levels = ("memory", "node", "disk", "replicas")
    for publishers in (1, 64):
        rounds = [[await speed(level, publishers, 2) for level in levels] for _ in range(3)]
        best = [max(column) for column in zip(*rounds, strict=True)]
        told = ", ".join(f"{name} {rate:.0f}/s" for name, rate in zip(levels, best, strict=True))
        print(f"{publishers:2} publishers: {told}", flush=True)


if __name__ == "__main__":
    trio.run(main, float(sys.argv[1]) if len(sys.argv) > 1 else 10.0)
