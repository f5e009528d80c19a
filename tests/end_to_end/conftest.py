"""Real nodes on one real server; every request of a client goes to the next node in turn."""

import itertools
import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import httpx
import pytest

from tests.leaks import check_keys
from tests.nodes import Cluster
from tests.waiting import wait_until as until

SECONDS = 20.0
XML = {"Content-Type": "application/restms+xml", "Accept": "application/restms+xml"}


class Client:
    """An HTTP client that goes from node to node, as a load balancer would send it."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._turn = itertools.count()
        self._http = httpx.Client(timeout=SECONDS)
        self._threads = ThreadPoolExecutor(32)

    def send(
        self,
        method: str,
        uri: str,
        body: str | bytes | None = None,
        node: int | None = None,
        **headers: str,
    ) -> httpx.Response:
        """Send a request to a node, the next in turn if none is named."""
        urls = self.cluster.urls
        url = urls[next(self._turn) % len(urls) if node is None else node]
        path = re.sub(r"^http://[^/]+", "", uri)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._http.request(method, url + path, content=body, headers={**XML, **named})

    def later(self, method: str, uri: str, **how: object) -> "Future[httpx.Response]":
        """Send a request that waits for its answer in the background."""
        return self._threads.submit(self.send, method, uri, **how)

    def new_pipe(self) -> str:
        """Create a pipe and return its URI."""
        answer = self.send("POST", "/restms/domain/default", "<restms><pipe/></restms>")
        assert answer.status_code == 201, answer.text
        return answer.headers["location"]

    def publish(self, address: str, *texts: str, feed: str = "default", **how: object) -> None:
        """Post messages, each with a text."""
        messages = "".join(
            f'<message address="{address}"><content>{text}</content></message>' for text in texts
        )
        answer = self.send("POST", f"/restms/feed/{feed}", f"<restms>{messages}</restms>", **how)
        assert answer.status_code == 200, answer.text

    def close(self) -> None:
        self._http.close()
        self._threads.shutdown(cancel_futures=True)


def name(pipe: str) -> str:
    """The name of the pipe that has this URI."""
    return pipe.rpartition("/")[2]


def text(answer: httpx.Response) -> str:
    """The text of the one content of a message."""
    assert answer.status_code == 200, answer.text
    found = re.search(r"<content[^>]*>([^<]*)</content>", answer.text)
    assert found, answer.text
    return found[1]


def parked(cluster: Cluster, pipe: str, waits: int = 1) -> None:
    """Wait until so many nodes listen for a pipe, which they do once a reader waits there."""
    key = f"restms:{{default}}:pipe:{name(pipe)[1:]}:messages"
    with cluster.redis.client() as redis:
        until(
            lambda: (
                sum(count for _, count in redis.pubsub_numsub(f"__keyspace@0__:{key}", key))
                >= waits
            )
        )


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[Cluster]:
    # A wait that nothing but a hint can end in time: it would read by itself after a minute only.
    with Cluster(1, "--reread-seconds", "60") as cluster:
        # One node has the lane and one has not, so that every test meets both.
        cluster.add("--no-lane")
        yield cluster


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Iterator[Cluster]:
    yield shared_cluster
    with shared_cluster.redis.client() as redis:
        check_keys(redis)


@pytest.fixture
def client(cluster: Cluster) -> Iterator[Client]:
    one = Client(cluster)
    yield one
    one.close()


@pytest.fixture
def client_of() -> Iterator[Callable[[Cluster], Client]]:
    """Make clients of clusters that a test starts for itself."""
    made: list[Client] = []

    def make(cluster: Cluster) -> Client:
        made.append(Client(cluster))
        return made[-1]

    yield make
    for one in made:
        one.close()
