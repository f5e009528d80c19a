"""Both commands on a Redis Cluster and with Sentinels, with what two nodes left there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.clusters import RedisCluster, domains_apart
from tests.commands.conftest import HEADERS
from tests.nodes import Cluster
from tests.sentinels import Sentinels
from tests.waiting import wait_until

Told = Callable[..., Any]


def grades(told: Told, word: str) -> set[str]:
    """The grades of all findings of this word."""
    seen = told("doctor", "--read-only", status=None)["findings"]
    return {finding["grade"] for finding in seen if finding["word"] == word}


def publish(nodes: Cluster, *domains: str) -> None:
    """Post 1, 2 … messages to a pipe in each domain, by two nodes; kill the nodes."""
    with httpx.Client(headers=HEADERS) as client:
        for number, domain in enumerate(domains, start=1):
            first, second = nodes.urls
            made = client.post(
                f"{first}/restms/domain/{domain}", content="<restms><pipe/></restms>"
            )
            name = made.headers["location"].rpartition("/")[2]
            feed = "default" if domain == "default" else f"{domain}/default"
            message = f"<message address='{name}'/>"
            body = f"<restms>{message * number}</restms>"
            assert client.post(f"{second}/restms/feed/{feed}", content=body).status_code == 200
    for node in nodes.nodes:
        node.kill()


def test_a_redis_cluster(told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = domains_apart(2)
    configuration = tmp_path / "restms.toml"
    configuration.write_text(f"[[domain]]\nname = '{first}'\n[[domain]]\nname = '{second}'")
    with RedisCluster(2, 1, "--notify-keyspace-events", "Kt") as redis:
        with Cluster(2, "--config", str(configuration), redis=redis) as nodes:
            publish(nodes, first, second)
        monkeypatch.setenv("RESTMS_REDIS", redis.url)
        seen = told("inspect")
        assert {server["mode"] for server in seen["servers"]} == {"cluster"}
        assert len(seen["servers"]) == 2
        domains = {domain["name"]: domain for domain in seen["domains"]}
        assert domains[first]["messages"] == 1
        assert domains[second]["messages"] == 2
        assert domains[first]["server"] != domains[second]["server"]
        assert [pipe["domain"] for pipe in told("inspect", "pipes")["pipes"]] == [second, first]
        assert len(told("inspect", "feeds", second)["feeds"]) == 1

        monkeypatch.setenv("RESTMS_CONFIG", str(configuration))
        found = told("doctor")["findings"]
        assert len({finding["server"] for finding in found}) == 5  # and one for all of them
        told_of = {(finding["word"], finding["grade"]) for finding in found}
        for word in ("cluster-slots", "cluster-moves", "replicas", "notifications", "published"):
            assert (word, "ok") in told_of
        assert grades(told, "min-replicas-to-write") == {"hint"}
        assert grades(told, "cluster-require-full-coverage") == {"warning"}
        for server in redis.servers:
            with server.client() as client:
                client.config_set("cluster-require-full-coverage", "no")
                client.config_set("min-replicas-to-write", 1)
        assert grades(told, "cluster-require-full-coverage") == {"ok"}
        assert grades(told, "min-replicas-to-write") == {"ok"}
        redis.begin_move(first, redis.primary(second))
        assert grades(told, "cluster-moves") == {"warning"}  # of both servers
        redis.end_move(first, redis.primary(second))
        assert grades(told, "cluster-moves") == {"ok"}


def test_sentinels(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    with Sentinels(1, 2) as redis:
        with Cluster(2, redis=redis) as nodes:
            publish(nodes, "default")
        monkeypatch.setenv("RESTMS_REDIS", redis.url)
        seen = told("inspect")
        assert [server["replicas"] for server in seen["servers"]] == [1]
        assert [domain["messages"] for domain in seen["domains"]] == [1]
        found = told("doctor")["findings"]
        assert len({finding["server"] for finding in found}) == 3  # and one for all of them
        assert grades(told, "sentinel-quorum") == {"ok"}
        assert grades(told, "sentinel-count") == {"warning"}
        monkeypatch.setenv("RESTMS_REDIS", redis.sentinels[0].url)
        seen = told("doctor", status=1)["findings"]
        assert [finding["change"] for finding in seen if finding["grade"] == "failure"] == [
            ["name it by redis+sentinel://"]
        ]
        monkeypatch.setenv("RESTMS_REDIS", redis.url)
        redis.sentinels[1].kill()
        wait_until(lambda: grades(told, "sentinel-quorum") == {"failure"})
        redis.sentinels[1].start()
        wait_until(lambda: grades(told, "sentinel-quorum") == {"ok"})
