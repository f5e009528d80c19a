"""A feed of the level disk, and a primary that takes over without writing as that wants."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Client, until
from tests.end_to_end.writers import new_pipe, publish_at_last, uris
from tests.nodes import Cluster
from tests.sentinels import Sentinels

ALWAYS = ("--appendonly", "yes", "--appendfsync", "always")
CONFIG = """
[[domain]]
name = "default"
[[domain.feed]]
name = "orders"
durability = "disk"
"""
ORDER = "<restms><message/></restms>"


@pytest.fixture(scope="module")
def sentinels() -> Iterator[Sentinels]:
    with Sentinels(1, 3, *ALWAYS) as sentinels:
        yield sentinels


@pytest.fixture(scope="module")
def cluster(sentinels: Sentinels, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    config: Path = tmp_path_factory.mktemp("disk") / "restms.toml"
    config.write_text(CONFIG)
    with Cluster(2, "--config", str(config), redis=sentinels) as cluster:
        yield cluster


def test_only_feeds_of_the_level_disk_are_out_where_the_new_primary_does_not_keep_it(
    client: Client, cluster: Cluster, sentinels: Sentinels
) -> None:
    with sentinels.servers[1].client() as replica:
        replica.config_set("appendfsync", "everysec")
    pipe = new_pipe(client, "default")
    sentinels.fail_over()
    for node in cluster.nodes:
        until(lambda node=node: f"now on {sentinels.primary().url}" in node.log())
    publish_at_last(client, "default", pipe, "goes on")
    assert len(uris(client, pipe)) == 2
    until(lambda: client.send("GET", "/readyz").status_code == 200)
    refused = client.send("POST", "/restms/feed/orders", ORDER)
    assert (refused.status_code, "appendfsync is not always" in refused.text) == (503, True)
