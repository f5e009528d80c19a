"""Several workers behind one address: any of them serves, and none is missed."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.end_to_end.conftest import Client, name, parked, text, until
from tests.nodes import Cluster, Node

Clients = Callable[[Cluster], Client]
TWO = ("--workers", "2")
ESTABLISHED = "01"


def workers(node: Node) -> set[int]:
    """The processes that the node's own one has started."""
    tasks = Path(f"/proc/{node.process.pid}/task").glob("*/children")
    return {int(child) for task in tasks for child in task.read_text().split()}


def connections(node: Node) -> list[int]:
    """How many connections each worker has."""
    port = f":{urlsplit(node.url).port:04X}"
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    accepted = {
        f"socket:[{row[9]}]" for row in rows if row[1].endswith(port) and row[3] == ESTABLISHED
    }
    return [len(accepted & opened(pid)) for pid in workers(node)]


def opened(pid: int) -> set[str]:
    """What a process has open."""
    found = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found.add(str(descriptor.readlink()))
    return found


def runs(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture(scope="module")
def pair() -> Iterator[Cluster]:
    """A node of two workers."""
    with Cluster(1, *TWO, "--document-bytes", "1000") as cluster:
        yield cluster


@pytest.fixture
def fresh() -> Iterator[httpx.Client]:
    """A client each of whose requests has a connection of its own."""
    with httpx.Client(timeout=15, limits=httpx.Limits(max_keepalive_connections=0)) as client:
        yield client


def test_both_serve_and_both_have_the_settings(pair: Cluster, fresh: httpx.Client) -> None:
    node = pair.nodes[0]
    with ExitStack() as sockets:
        parts = urlsplit(node.url)
        for _ in range(50):
            sockets.enter_context(socket.create_connection((parts.hostname, parts.port)))
        until(lambda: sum(connections(node)) == 50)
        assert len(connections(node)) == 2
        assert min(connections(node)) > 5  # the kernel spreads them by chance
        for _ in range(10):
            headers = {"Content-Type": "text/xml"}
            feed = f"{node.url}/restms/feed/default"
            assert fresh.post(feed, content=b" " * 1001, headers=headers).status_code == 413


def test_one_that_is_killed_is_not_missed_and_started_again(
    pair: Cluster, client_of: Clients, fresh: httpx.Client
) -> None:
    client, node = client_of(pair), pair.nodes[0]
    pipe = client.new_pipe()
    client.publish(name(pipe), "before")
    killed, other = workers(node)
    os.kill(killed, signal.SIGKILL)
    until(lambda: not runs(killed))
    for _ in range(10):
        answer = fresh.get(f"{pipe}-1", headers={"Accept": "application/restms+xml"})
        assert text(answer) == "before"
    until(lambda: len(workers(node)) == 2)
    assert other in workers(node)
    assert "is started again" in node.log()


def test_all_are_renewed_one_after_the_other(
    pair: Cluster, client_of: Clients, fresh: httpx.Client
) -> None:
    client, node = client_of(pair), pair.nodes[0]
    pipe = client.new_pipe()
    before = workers(node)
    node.signal(signal.SIGUSR1)
    until(lambda: len(workers(node)) == 2 and before.isdisjoint(workers(node)))
    client.publish(name(pipe), "after")
    assert fresh.get(f"{pipe}-1").status_code == 200


def test_sigterm_drains_all_of_them(client_of: Clients, fresh: httpx.Client) -> None:
    with Cluster(1, *TWO, "--drain-delay-seconds", "1") as cluster:
        client, (node,) = client_of(cluster), cluster.nodes
        pipe = client.new_pipe()
        waits = [client._threads.submit(fresh.get, f"{pipe}-1") for _ in range(16)]
        until(lambda: sum(connections(node)) >= 17)  # the client keeps its own
        parked(cluster, pipe, waits=2)  # one subscription for each worker
        both = workers(node)
        assert node.terminate() == 0
        for wait in waits:
            answer = wait.result(5)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "0")
        assert not any(runs(pid) for pid in both)


def test_none_outlives_its_parent() -> None:
    with Cluster(1, *TWO) as cluster:
        (node,) = cluster.nodes
        both = workers(node)
        assert len(both) == 2
        node.kill()
        until(lambda: not any(runs(pid) for pid in both))


def test_a_second_signal_ends_all_at_once(fresh: httpx.Client) -> None:
    with Cluster(1, *TWO, "--drain-delay-seconds", "60") as cluster:
        (node,) = cluster.nodes
        both = workers(node)
        node.signal(signal.SIGTERM)
        until(lambda: "going down" in fresh.get(f"{node.url}/readyz").text)
        assert node.terminate() == 0
        assert not any(runs(pid) for pid in both)


def test_what_keeps_one_from_starting_is_said_once(pair: Cluster) -> None:
    with pytest.raises(RuntimeError) as refused:
        pair.add("--redis", "unix:///nonexistent.sock")
    lines = [line for line in str(refused.value).splitlines() if '"level": "critical"' in line]
    assert len(lines) == 1
    assert "nonexistent" in lines[0]
    assert "Traceback" not in str(refused.value)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_address_that_is_taken_is_refused_also_by_other_workers(
    pair: Cluster, workers: str
) -> None:
    taken = pair.urls[0].removeprefix("http://")
    with pytest.raises(RuntimeError, match="Cannot listen on"):
        pair.add("--bind", taken, "--workers", workers)


def test_they_share_the_embedded_server(
    client_of: Clients, fresh: httpx.Client, tmp_path: Path
) -> None:
    with Cluster(1, *TWO, "--redis", "", "--data-dir", str(tmp_path)) as cluster:
        client, (node,) = client_of(cluster), cluster.nodes
        pipe = client.new_pipe()
        client.publish(name(pipe), "shared")
        for _ in range(10):
            answer = fresh.get(f"{pipe}-1", headers={"Accept": "application/restms+xml"})
            assert text(answer) == "shared"
        children = workers(node)
        assert node.terminate() == 0
        assert not any(runs(pid) for pid in children)
