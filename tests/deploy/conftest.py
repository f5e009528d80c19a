"""What tests of `deploy/` share: two nodes on the Redis that it describes, and proxies in front."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trio

from tests.chaos.balancer import Balancer, find_haproxy
from tests.conformance.client import Client
from tests.deploy.nginx import Nginx, find_nginx
from tests.guarded import Guarded
from tests.nodes import Cluster

DEPLOY = Path(__file__).parents[2] / "deploy"
BEHIND = (
    *("--trusted-proxies", "127.0.0.1"),
    *("--drain-delay-seconds", "0.5"),
    *("--sweep-seconds", "0.5"),  # so that what a sweep tells is soon there
    *("--messages-listed", "100000"),  # so that a test sees all that were published
)


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """Redis with the configuration and the access list that are shipped."""
    server = Guarded(tmp_path_factory.mktemp("redis"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def cluster(guarded: Guarded) -> Iterator[Cluster]:
    with Cluster(2, *BEHIND, redis=guarded) as nodes:
        yield nodes


@dataclass(frozen=True)
class Proxied:
    """Nodes behind a proxy."""

    cluster: Cluster
    url: str
    directory: Path

    def client(self) -> Client:
        """Return a client that knows the proxy only."""
        return Client([self.url])


@pytest.fixture(params=["haproxy", "nginx"])
def proxied(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[Proxied]:
    """Both nodes run, and the proxy sends them requests."""
    ports = [urlsplit(url).port or 0 for url in cluster.urls]
    # A Unix socket's path has about 100 characters, fewer than pytest's directories.
    directory = Path(tempfile.mkdtemp(prefix="restms-"))
    try:
        with running(request.param, directory, ports) as url:
            yield Proxied(cluster, url, directory)
    finally:
        shutil.rmtree(directory)


@contextmanager
def running(proxy: str, directory: Path, ports: list[int]) -> Iterator[str]:
    """Run a proxy in front of what listens on these ports; enter with its URL."""
    if proxy == "haproxy":
        if find_haproxy() is None:
            pytest.skip("HAProxy is not installed")
        balancer = Balancer(directory, ports)
        try:
            trio.run(balancer.started)
            yield f"http://127.0.0.1:{balancer.port}"
        finally:
            balancer.close()
    else:
        if find_nginx() is None:
            pytest.skip("nginx is not installed")
        nginx = Nginx(directory, ports)
        try:
            yield nginx.url
        finally:
            nginx.close()
