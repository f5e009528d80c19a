"""One host: a later version is installed where a node runs, and its workers are renewed."""

import re
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.conftest import Client, name
from tests.end_to_end.test_workers import workers
from tests.nodes import Cluster
from tests.upgrade.versions import ADDITIVE, VERSION_FILE, Edit, edit, make_version
from tests.waiting import wait_until

Clients = Callable[[Cluster], Client]

XML = {"Content-Type": "application/restms+xml"}
WELL = {"200", "204", "503 to be repeated"}
OTHER_SETTINGS: tuple[Edit, ...] = (
    # What a parent of today has pickled is not what this version reads.
    ("restms_node/config.py", "drain_seconds: float", "drains_within_seconds: float"),
    ("restms_node/server.py", "settings.drain_seconds", "settings.drains_within_seconds"),
)
OTHER_METRICS: tuple[Edit, ...] = (
    (
        "restms_node/metrics_table.py",
        '    _gauge("restms_waits", ',
        '    _gauge("restms_later", "Of a later version."),\n    _gauge("restms_waits", ',
    ),
    (
        "restms_node/metrics_snapshot.py",
        '"restms_waits": {',
        '"restms_later": {(): 1}, "restms_waits": {',
    ),
)
BROKEN: tuple[Edit, ...] = (("restms_node/server.py", "import gc\n", "import no_such_module\n"),)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Where the program is installed."""
    make_version(tmp_path / "installed", "8.0.0")
    return tmp_path / "installed"


@pytest.fixture
def cluster(installed: Path) -> Iterator[Cluster]:
    """A node of two workers that run what is installed."""
    with Cluster(1, "--workers", "2", env={"PYTHONPATH": str(installed)}) as one:
        yield one


def install(place: Path, number: str, *edits: Edit) -> None:
    """Write another version over the one that is installed."""
    file = place / VERSION_FILE
    file.write_text(re.sub(r"VERSION = .*", f"VERSION = {number!r}", file.read_text()))
    for one in edits:
        edit(place, one)


def versions(cluster: Cluster) -> set[str]:
    """The versions that the workers say they are of."""
    answers = [httpx.get(f"{cluster.urls[0]}/openapi.json") for _ in range(10)]
    return {answer.json()["info"]["version"] for answer in answers}


@contextmanager
def traffic(client: Client) -> Iterator["Counter[str]"]:
    """Publish and wait for the time of a block, each time on a connection of its own.

    The counter has how often each status was answered, and each reason for which nothing was.
    """
    told: Counter[str] = Counter()
    ended = threading.Event()
    full, empty = client.new_pipe(), client.new_pipe()
    feed = f"{client.cluster.urls[0]}/restms/feed/default"
    document = f'<restms><message address="{name(full)}"><content>x</content></message></restms>'

    def publish() -> httpx.Response:
        return httpx.post(feed, content=document, headers=XML)

    def wait() -> httpx.Response:
        return httpx.get(f"{empty}-1", headers={"Prefer": "wait=1"})

    def go_on(ask: Callable[[], httpx.Response]) -> None:
        while not ended.is_set():
            try:
                answer = ask()
            except httpx.TransportError as error:
                told[repr(error)] += 1
            else:
                again = " to be repeated" if "retry-after" in answer.headers else ""
                told[f"{answer.status_code}{again}"] += 1

    with ThreadPoolExecutor(8) as threads:
        asking = [threads.submit(go_on, ask) for ask in (publish, publish, *[wait] * 6)]
        try:
            yield told
        finally:
            ended.set()
        for one in asking:
            one.result()
    listed = client.send("GET", f"{full}?messages=10000", Prefer="wait=0").text.count("<message ")
    assert listed >= told["200"]


def test_workers_of_two_versions_serve_until_all_are_renewed(
    cluster: Cluster, installed: Path, client_of: Clients
) -> None:
    (node,), before = cluster.nodes, workers(cluster.nodes[0])
    assert versions(cluster) == {"8.0.0"}
    with traffic(client_of(cluster)) as told:
        install(installed, "9.0.0", *ADDITIVE, *OTHER_SETTINGS, *OTHER_METRICS)
        assert versions(cluster) == {"8.0.0"}, "what runs does not change"
        node.signal(signal.SIGUSR1)
        wait_until(lambda: "worker 1 of 2 was renewed" in node.log())
        wait_until(lambda: "worker 2 of 2 was renewed" in node.log())
        wait_until(lambda: len(workers(node)) == 2 and before.isdisjoint(workers(node)))
        assert versions(cluster) == {"9.0.0"}
        # They are asked by way of their parent, which knows nothing of a later version's metrics.
        assert "\nrestms_requests_total{" in httpx.get(f"{node.url}/metrics").text
    assert set(told) <= WELL, told
    assert told["200"]
    assert told["503 to be repeated"], told


def test_a_version_that_does_not_start_leaves_the_workers_that_run(
    cluster: Cluster, installed: Path, client_of: Clients
) -> None:
    (node,), before = cluster.nodes, workers(cluster.nodes[0])
    with traffic(client_of(cluster)) as told:
        install(installed, "9.0.0", *BROKEN)
        node.signal(signal.SIGUSR1)
        wait_until(lambda: "no worker is renewed: A worker ended at its start." in node.log())
        assert workers(node) == before
    assert set(told) <= {"200", "204"}, told
