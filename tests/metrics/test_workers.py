"""A node of several workers tells of all of them, whichever is asked, and no counter falls."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from urllib.error import URLError

import pytest

from restms_node.metrics_snapshot import Snapshot, joined, lasting, packed, unpacked
from restms_node.traffic import WAITS
from tests.conformance.client import Client, unique
from tests.conformance.documents import numbered
from tests.end_to_end.test_workers import workers
from tests.metrics.conftest import OFTEN
from tests.metrics.scrapes import Scrape, check_nothing_falls, scrape, told
from tests.nodes import Cluster
from tests.waiting import wait_until

RECEIVED = "restms_messages_received_total"


@pytest.fixture(scope="module")
def pair() -> Iterator[Cluster]:
    """A node of two workers."""
    with Cluster(1, "--workers", "2", *OFTEN) as cluster:
        yield cluster


def came_through(url: str) -> Scrape:
    """A scrape, again where the connection was for a worker that has just ended."""
    found: list[Scrape] = []

    def came() -> bool:
        with suppress(ConnectionError, URLError):
            found.append(scrape(url))
        return bool(found)

    wait_until(came)
    return found[0]


def test_any_worker_tells_of_all(pair: Cluster) -> None:
    with Client(pair.urls) as client:
        feed = client.create_feed(unique("news"), "fanout")
        before = told(pair.urls, RECEIVED)
        for _ in range(20):  # each on a connection of its own
            with Client(pair.urls) as one:
                one.post_messages(feed, *numbered(2))
        for _ in range(10):
            assert told(pair.urls, RECEIVED) == before + 40
        wait_until(lambda: told(pair.urls, "restms_messages_stored") == 0)
        assert told(pair.urls, "restms_redis_connected") == 1


def test_no_counter_falls_when_a_worker_dies_or_is_renewed(pair: Cluster) -> None:
    node = pair.nodes[0]
    with Client(pair.urls[:1]) as client:
        feed = client.create_feed(unique("news"), "fanout")
        client.post_messages(feed, *numbered(3))
        before = scrape(node.url)
        killed, other = sorted(workers(node))
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: killed not in workers(node))
        after = came_through(node.url)
        check_nothing_falls(before, after)
        wait_until(lambda: len(workers(node)) == 2)
        os.kill(node.process.pid, signal.SIGUSR1)
        while "worker 2 of 2 was renewed" not in node.log():
            before, after = after, came_through(node.url)
            check_nothing_falls(before, after)
        assert other not in workers(node)
        check_nothing_falls(after, came_through(node.url))


def test_values_are_joined_each_in_its_way() -> None:
    one = {
        "restms_waits": {(): 3},
        "restms_messages_received_total": {("default",): 5},
        "restms_redis_connected": {("redis://a:1/0",): 1},
        "restms_build_info": {("1", "3"): 1},
        "restms_wait_duration_seconds": {(): [1, 2, 3, 0.5]},
    }
    other = {
        "restms_waits": {(): 4},
        "restms_messages_received_total": {("default",): 1, ("sales",): 1},
        "restms_redis_connected": {("redis://a:1/0",): 0},
        "restms_build_info": {("1", "3"): 1},
        "restms_wait_duration_seconds": {(): [1, 0, 0, 1.5]},
    }
    both = joined((one, other))
    assert both == {
        "restms_waits": {(): 7},
        "restms_messages_received_total": {("default",): 6, ("sales",): 1},
        "restms_redis_connected": {("redis://a:1/0",): 0},
        "restms_build_info": {("1", "3"): 1},
        "restms_wait_duration_seconds": {(): [2, 2, 3, 2.0]},
    }
    assert lasting(both).keys() == {
        "restms_messages_received_total",
        "restms_wait_duration_seconds",
    }


def test_of_a_worker_of_another_version_is_told_what_is_known_here() -> None:
    known: Snapshot = {
        "restms_waits": {(): 3},
        "restms_messages_received_total": {("default",): 5},
        "restms_wait_duration_seconds": {(): [0.0] * (len(WAITS) + 2)},
    }
    assert unpacked(packed(known)) == known
    others: Snapshot = {
        "restms_waits": {("default",): 3},
        "restms_messages_received_total": {("default",): [1.0, 2.0]},
        "restms_wait_duration_seconds": {(): [1.0] * (len(WAITS) + 3)},
        "restms_of_a_later_version": {(): 1},
    }
    unknown = unpacked(packed(others))
    assert joined((known, unknown)) == known
    assert not any(lasting(unknown).values())
