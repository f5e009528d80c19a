"""Two nodes, one with the lane and one without; their pipes are small, and they sweep often."""

from collections.abc import Iterator

import pytest

from tests.conformance.client import Client
from tests.nodes import Cluster

MOST = 5  # messages in a pipe
OFTEN = ("--sweep-seconds", "0.2")
OPTIONS = (*OFTEN, "--messages-per-pipe", str(MOST), "--reread-seconds", "60")


@pytest.fixture(scope="package")
def cluster() -> Iterator[Cluster]:
    with Cluster(1, *OPTIONS) as cluster:
        cluster.add("--no-lane")
        yield cluster


@pytest.fixture
def urls(cluster: Cluster) -> list[str]:
    return cluster.urls


@pytest.fixture
def client(cluster: Cluster) -> Iterator[Client]:
    """A client that goes from node to node; what it made is deleted in the end."""
    with Client(cluster.urls) as client:
        yield client
