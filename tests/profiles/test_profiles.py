"""A profile of one module and its Lua is all that new feed types take."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from restms_cluster.errors import StartError
from restms_cluster.profiles import load_profiles
from tests.conformance.client import DOMAIN, Client, unique
from tests.conformance.documents import data_of, message, text
from tests.nodes import Cluster

HERE = Path(__file__).parent
MODULE = "profile_prefix"


@pytest.fixture(scope="module")
def broker() -> Iterator[Client]:
    """A client of two nodes that speak the profile."""
    environment = {"PYTHONPATH": str(HERE)}
    with (
        Cluster(2, "--extra-profiles", MODULE, env=environment) as cluster,
        Client(cluster.urls) as client,
    ):
        yield client


def test_the_profile_is_announced_and_has_its_page(broker: Client) -> None:
    profiles = broker.read(DOMAIN)["profile"]
    assert [profile["name"] for profile in profiles] == ["3/Defaults", "4/AMQP9", "example/Prefix"]
    assert "begins the message's" in broker.get(profiles[2]["href"]).text


def test_its_feeds_route_as_it_says(broker: Client) -> None:
    feed = broker.create_feed(unique("paths"), "prefix")
    fruit, all_of_it, other = (broker.create_pipe() for _ in range(3))
    broker.join(fruit, feed, "/fruit/")
    broker.join(fruit, feed, "/fruit/apple")
    broker.join(all_of_it, feed, "")
    broker.join(other, feed, "/fruits")
    assert broker.publish(feed, message("/fruit/apple", text("red"))) == [2]
    for pipe in (fruit, all_of_it):
        (received,) = broker.receive_all(pipe)
        assert data_of(received["content"][0]) == b"red"
    assert broker.messages(other) == []


def test_its_feeds_queue_where_it_says_so(broker: Client) -> None:
    feed = broker.create_feed(unique("jobs"), "shared")
    broker.post(feed, {"restms": {"message": [message("1"), message("2")]}})
    pipe = broker.create_pipe(type="ondemand")
    broker.join(pipe, feed)
    assert broker.receive(broker.asynclet(pipe))["address"] == "1"


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("no_such_module", "cannot be imported"),
        ("json", "has no profile"),
        ("restms_cluster.profile_amqp9", "two profiles of the name 4/AMQP9"),
    ],
)
def test_a_module_that_is_no_profile_is_refused(module: str, reason: str) -> None:
    with pytest.raises(StartError, match=reason):
        load_profiles([module])


def test_a_profile_loads_beside_those_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(HERE), *sys.path])
    assert [profile.name for profile in load_profiles([MODULE])][2:] == ["example/Prefix"]
