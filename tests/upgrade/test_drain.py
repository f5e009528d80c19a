"""`restms drain`: waits and streams end at once, and all else goes on until SIGTERM."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from restms_node.command import main
from tests.end_to_end.conftest import Client, name, parked, text
from tests.end_to_end.test_workers import runs, workers
from tests.nodes import Cluster, Node
from tests.waiting import wait_until

Clients = Callable[[Cluster], Client]

DELAY_SECONDS = 1.0
DELAY = ("--drain-delay-seconds", str(DELAY_SECONDS))
LONG_SECONDS = 4.0  # longer than a process takes to end on a busy machine
ENOUGH_SECONDS = 30


def drain(*options: str) -> int:
    """Run the command; return its exit status."""
    return main(["drain", *options])


def drain_node(node: Node, *options: str) -> int:
    return drain("--pid", str(node.process.pid), *options)


def ready(node: Node) -> bool:
    return httpx.get(f"{node.url}/readyz").status_code == 200


@contextmanager
def events(node: Node, pipe: str) -> Iterator["Iterator[str]"]:
    """Read a pipe's stream of events."""
    headers = {"Accept": "text/event-stream"}
    url = f"{node.url}{urlsplit(pipe).path}"
    with httpx.stream("GET", url, headers=headers, timeout=ENOUGH_SECONDS) as answer:
        assert answer.status_code == 200
        yield answer.iter_lines()


@pytest.mark.parametrize("options", [(), ("--no-lane", "--workers", "2")])
def test_waits_and_streams_end_and_all_else_is_served(
    client_of: Clients, options: Sequence[str]
) -> None:
    with Cluster(1, "--drain-delay-seconds", str(LONG_SECONDS), *options) as cluster:
        client, (node,) = client_of(cluster), cluster.nodes
        pipe = client.new_pipe()
        waits = [client.later("GET", f"{pipe}-1") for _ in range(8)]
        parked(cluster, pipe)
        with events(node, pipe) as lines:
            assert next(lines)  # it has begun
            assert drain_node(node) == 0
            drained = time.monotonic()
            assert not [line for line in lines if line.startswith("data:")]
        for wait in waits:
            answer = wait.result(5)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "0")
        for number in range(8):  # each connection is one worker's by chance
            assert not ready(node)
            assert httpx.get(f"{pipe}-{number + 1}").status_code == 503
            client.publish(name(pipe), "served")
            for answer in (client.send("GET", pipe), client.send("GET", f"{pipe}-1")):
                assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert (
            text(httpx.get(f"{pipe}-1", headers={"Accept": "application/restms+xml"})) == "served"
        )
        assert drain_node(node) == 0, "it may be told twice"
        wait_until(lambda: time.monotonic() - drained > LONG_SECONDS)
        begun = time.monotonic()
        assert node.terminate() == 0
        assert time.monotonic() - begun < LONG_SECONDS, "it has drained for long enough"


def test_a_worker_that_is_started_anew_drains_too() -> None:
    with Cluster(1, "--workers", "2") as cluster:
        (node,) = cluster.nodes
        before = workers(node)
        assert drain_node(node) == 0
        os.kill(min(before), signal.SIGKILL)
        wait_until(lambda: not runs(min(before)) and len(workers(node)) == 2)
        # Each connection is one worker's by chance.
        wait_until(lambda: not any(ready(node) for _ in range(20)))
        assert drain_node(node) == 0


def test_a_sigterm_that_comes_at_once_still_gives_the_balancer_its_moment() -> None:
    with Cluster(1, *DELAY) as cluster:
        (node,) = cluster.nodes
        begun = time.monotonic()
        assert drain_node(node) == 0
        node.signal(signal.SIGTERM)
        while node.process.poll() is None:
            with suppress(httpx.TransportError):
                assert not ready(node)
                served = time.monotonic()
        assert served - begun > DELAY_SECONDS / 2
        assert node.process.returncode == 0


def test_the_signal_itself_will_do_and_the_file_has_the_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "restms.pid"
    file.write_text("1\n")  # of one that was killed
    with Cluster(1, "--pid-file", str(file)) as cluster:
        (node,) = cluster.nodes
        assert file.read_text() == f"{node.process.pid}\n"
        node.pause()
        node.signal(signal.SIGUSR2)
        assert drain_node(node, "--seconds", "0.1") == 1
        assert "has not ended its waits in 0.1 seconds" in capsys.readouterr().err
        node.resume()
        wait_until(lambda: not ready(node))
        assert drain("--pid-file", str(file)) == 0
        node.terminate()
        assert not list(tmp_path.iterdir())


@pytest.fixture
def sleeper() -> Iterator[int]:
    """Some process that is no node."""
    with subprocess.Popen(["sleep", "60"]) as other:
        try:
            yield other.pid
            assert other.poll() is None
        finally:
            other.kill()


def test_what_is_no_node_is_told_and_not_touched(
    sleeper: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert drain("--pid", str(sleeper)) == 1
    said = f"restms: The process {sleeper} is no node of restms that can be told to drain.\n"
    assert capsys.readouterr().err == said
    assert drain("--pid", str(2**22 + 1)) == 1  # more than Linux gives out
    assert "There is no process" in capsys.readouterr().err
    for written in ("", "twelve", "-1", "9" * 30):
        (tmp_path / "file").write_text(written)
        assert drain("--pid-file", str(tmp_path / "file")) == 1
        assert capsys.readouterr().err.count("\n") == 1
    assert drain("--pid-file", str(tmp_path / "none")) == 1
    assert "none cannot be read" in capsys.readouterr().err


def test_who_only_has_the_name_of_a_node_is_not_believed(
    sleeper: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever listens there must be that process."""
    namespace = Path("/proc/self/ns/pid").stat().st_ino
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0restms/{namespace}/{sleeper}".encode())
        listener.listen()
        assert drain("--pid", str(sleeper)) == 1
    assert "is no node of restms" in capsys.readouterr().err


@pytest.mark.parametrize("number", ["0", "-5"])
def test_there_are_processes_that_cannot_be(
    number: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert drain("--pid", number) == 1
    assert "no process with such a number" in capsys.readouterr().err
