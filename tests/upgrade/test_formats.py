"""Two versions on one Redis: side by side where that is safe, and one of them only where not."""

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from redis import ConnectionError  # noqa: A004, there is no other here

from restms_cluster.formats import FORMAT
from tests.end_to_end.conftest import Client, name, text
from tests.nodes import Cluster
from tests.upgrade.versions import ADDITIVE, INCOMPATIBLE, make_version
from tests.waiting import wait_until

Clients = Callable[[Cluster], Client]

DOMAIN = "restms:{default}"
WRITERS = 4
DURABLE = ("--appendonly", "yes")


@pytest.fixture
def additive(tmp_path: Path) -> Mapping[str, str]:
    """The environment of a later version that goes with this one."""
    return make_version(tmp_path / "later", "9.0.0", ADDITIVE)


@pytest.fixture
def incompatible(tmp_path: Path) -> Mapping[str, str]:
    """The environment of a later version that does not."""
    return make_version(tmp_path / "later", "9.0.0", INCOMPATIBLE)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(1) as one:
        yield one


def state_of(cluster: Cluster) -> dict[str, str]:
    """What the hash of the domain has."""
    with cluster.redis.client() as redis:
        found = redis.hgetall(DOMAIN)
    return {field.decode(): value.decode() for field, value in found.items()}


def upgraded_again(cluster: Cluster) -> bool:
    """Whether what was put back has been upgraded; that ends all connections, this one too."""
    try:
        return state_of(cluster)["format"] == "2"
    except ConnectionError:
        return False


def makers_of_pipes(cluster: Cluster) -> set[bytes | None]:
    """What the pipes have in the field that only the later version writes."""
    with cluster.redis.client() as redis:
        keys = [key for key in redis.scan_iter(f"{DOMAIN}:pipe:*") if key.count(b":") == 3]
        return {redis.hget(key, "made_by") for key in keys}


def test_a_state_from_before_there_were_formats_is_upgraded_and_goes_on(
    cluster: Cluster, client_of: Clients
) -> None:
    client = client_of(cluster)
    assert state_of(cluster)["format"] == str(FORMAT)
    pipe = client.new_pipe()
    client.publish(name(pipe), "before")
    with cluster.redis.client() as redis:
        redis.hdel(DOMAIN, "format")
    added = cluster.add()
    assert state_of(cluster)["format"] == str(FORMAT)
    for node in (0, -1):
        assert text(client.send("GET", f"{pipe}-1", node=node)) == "before"
    assert "shut out" not in added.log()


def test_an_older_node_does_not_start_on_a_newer_format(cluster: Cluster) -> None:
    with cluster.redis.client() as redis:
        redis.hset(DOMAIN, "format", FORMAT + 1)
        try:
            with pytest.raises(RuntimeError) as refused:
                cluster.add()
        finally:
            redis.hset(DOMAIN, "format", FORMAT)
    (line,) = re.findall('^.*"level": "critical".*$', str(refused.value), re.MULTILINE)
    assert f"default has format {FORMAT + 1}, of a newer version of restms" in line
    assert "Traceback" not in str(refused.value)
    assert cluster.nodes.pop().process.returncode == 1


def test_versions_of_one_format_work_side_by_side(
    cluster: Cluster, client_of: Clients, additive: Mapping[str, str]
) -> None:
    cluster.add(env=additive)
    client = client_of(cluster)
    for number in range(20):
        # Each step is another node's, and so of another version, than the one before.
        pipe = client.new_pipe()
        client.publish(name(pipe), f"a {number}", f"b {number}")
        assert text(client.send("GET", f"{pipe}-1")) == f"a {number}"
        assert client.send("DELETE", f"{pipe}-1").status_code == 200
        assert text(client.send("GET", f"{pipe}-2")) == f"b {number}"
        wait = client.later("GET", f"{pipe}-3")
        client.publish(name(pipe), "c")
        assert text(wait.result(10)) == "c"
    assert makers_of_pipes(cluster) == {None, b"9"}
    assert state_of(cluster)["format"] == str(FORMAT)


def test_older_nodes_fail_closed_when_the_format_changes_under_them(
    client_of: Clients, incompatible: Mapping[str, str]
) -> None:
    with Cluster(1, redis_options=DURABLE) as cluster:
        client, older = client_of(cluster), cluster.nodes[0]
        kept = client.new_pipe()
        client.publish(name(kept), "kept")
        changed = threading.Event()
        with ThreadPoolExecutor(WRITERS) as threads:
            writing = [threads.submit(make_pipes, client, changed) for _ in range(WRITERS)]
            later = cluster.add(env=incompatible)
            changed.set()
            made = [pipe for one in writing for pipe in one.result(30)]
        # Whatever the older node had done afterwards would have brought this field back.
        assert "serial" not in state_of(cluster)
        assert state_of(cluster)["format"] == "2"
        assert "from format 1 to 2: older nodes are shut out" in later.log()
        assert "has format 2, of a newer version of restms" in older.log()
        assert httpx.get(f"{older.url}/readyz").status_code == 503
        assert httpx.get(f"{older.url}/livez").status_code == 200
        assert made
        for pipe in made:
            assert client.send("GET", pipe, node=1).status_code == 200
        assert text(client.send("GET", f"{kept}-1", node=1)) == "kept"

        # A backup of the older format is put back, as Redis starts again.
        with cluster.redis.client() as redis:
            redis.hset(DOMAIN, mapping={"format": 1, "serial": redis.hget(DOMAIN, "ordinal")})
            redis.hdel(DOMAIN, "ordinal")
        cluster.redis.stop()
        cluster.redis.start()
        wait_until(lambda: upgraded_again(cluster))
        assert "serial" not in state_of(cluster)
        wait_until(lambda: httpx.get(f"{later.url}/readyz").status_code == 200)
        assert text(client.send("GET", f"{kept}-1", node=1)) == "kept"
        assert older.terminate() == 0


def make_pipes(client: Client, changed: threading.Event) -> list[str]:
    """Make pipes by the first node, also for a while after the format has changed."""
    made: list[str] = []
    shut_out = False
    while not shut_out:
        answer = client.send("POST", "/restms/domain/default", "<restms><pipe/></restms>", 0)
        assert answer.status_code in (201, 503), answer.text
        if answer.status_code == 201:
            made.append(answer.headers["location"])
        else:
            shut_out = changed.is_set()
    return made
