"""The conformance suite: it speaks HTTP only, to any RestMS server.

    pytest tests/conformance                                     # starts two nodes by itself
    RESTMS_URL=http://host:8080 pytest tests/conformance         # a server that runs already
    RESTMS_URL=http://a:80,http://b:80 pytest tests/conformance  # nodes of one cluster, in turn
    pytest tests/conformance -m "not ours"                       # the specifications' rules alone

Nodes of our own are tried twice, with the message lane and without it.

A server named by RESTMS_URL is asked for limits, CORS and other domains only if
RESTMS_SMALL_URL names one that was started with the options of SMALL below,
and RESTMS_DOMAIN a second domain of the first one.
"""

import os
from collections.abc import Iterator

import pytest

from tests.conformance.client import DOMAIN, Client, unique
from tests.conformance.documents import CBOR, JSON, XML, message

ADDRESS = "sports.football"  # where the fixture `pipe` is joined to the fixture `feed`
ORIGIN = "http://page.example"
# The node with small limits is one of the cluster, and may be the one to do what is due: so no
# test lets a dead-letter feed or the pipe that reads it hold more than these at a time.
LISTED, PER_PIPE, PER_FEED, WAIT_SECONDS, STAGED_SECONDS = 3, 5, 4, 1, 1
DOCUMENT_BYTES, CONTENT_BYTES = 10_000, 20_000
READ, READ_BYTES = 4, 3_000
SMALL = (
    *("--messages-listed", str(LISTED)),
    *("--messages-read", str(READ)),
    *("--read-bytes", str(READ_BYTES)),
    *("--heartbeat-seconds", "0.1"),
    *("--messages-per-pipe", str(PER_PIPE)),
    *("--messages-per-feed", str(PER_FEED)),
    *("--wait-seconds", str(WAIT_SECONDS)),
    *("--staged-seconds", str(STAGED_SECONDS)),
    *("--document-bytes", str(DOCUMENT_BYTES)),
    *("--content-bytes", str(CONTENT_BYTES)),
    *("--cors-origins", ORIGIN),
)
SECOND_DOMAIN = "conformance"
CONFIG = f"""
[[domain]]
name = "{SECOND_DOMAIN}"
title = "The second domain"
[[domain.feed]]
name = "configured"
title = "A configured feed"
"""


WAYS = [()] if "RESTMS_URL" in os.environ else [("--lane", "on"), ("--lane", "off")]


@pytest.fixture(scope="session", params=WAYS, ids=" ".join)
def servers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[list[str], str | None]]:
    """The URLs of the nodes under test, and of the one with small limits."""
    given = os.environ.get("RESTMS_URL")
    if given:
        yield (
            [url.strip().rstrip("/") for url in given.split(",")],
            os.environ.get("RESTMS_SMALL_URL"),
        )
        return
    from tests.guarded import Guarded
    from tests.nodes import Cluster

    config = tmp_path_factory.mktemp("config") / "restms.toml"
    config.write_text(CONFIG)
    # With the access list that we ship: so all that this suite asks for is known to be allowed.
    redis = Guarded(tmp_path_factory.mktemp("redis"))
    try:
        with Cluster(2, "--config", str(config), *request.param, redis=redis) as cluster:
            urls = cluster.urls
            yield urls, cluster.add(*SMALL).url
        with redis.client() as client:
            assert client.acl_log() == []
    finally:
        redis.close()


@pytest.fixture(scope="session")
def urls(servers: tuple[list[str], str | None]) -> list[str]:
    return servers[0]


@pytest.fixture(scope="session")
def session_client(urls: list[str]) -> Iterator[Client]:
    with Client(urls) as client:
        yield client


@pytest.fixture
def broker(session_client: Client) -> Iterator[Client]:
    """A client of all nodes in turn, which speaks XML. What it makes, goes with the test."""
    yield session_client
    session_client.delete_all()


@pytest.fixture
def small(servers: tuple[list[str], str | None]) -> Iterator[Client]:
    """A client of the node with small limits."""
    url = servers[1]
    if url is None:
        pytest.skip("RESTMS_SMALL_URL names no server with small limits")
    with Client([url]) as client:
        yield client


@pytest.fixture
def second_domain() -> str:
    """The name of a configured domain that is not `default`."""
    name = os.environ.get("RESTMS_DOMAIN", "" if "RESTMS_URL" in os.environ else SECOND_DOMAIN)
    if not name:
        pytest.skip("RESTMS_DOMAIN names no second domain")
    return name


@pytest.fixture(params=[XML, JSON, pytest.param(CBOR, marks=pytest.mark.ours)], ids=str)
def speaker(request: pytest.FixtureRequest, broker: Client) -> Client:
    """The same client in each of the formats."""
    return broker.in_format(request.param)


@pytest.fixture
def feed(broker: Client) -> str:
    """A public feed of the default type."""
    return broker.create_feed(unique("feed"))


@pytest.fixture
def pipe(broker: Client, feed: str) -> str:
    """A pipe joined to `feed` at ADDRESS."""
    pipe = broker.create_pipe()
    broker.join(pipe, feed, ADDRESS)
    return pipe


def resource(noun: str, broker: Client, feed: str, pipe: str) -> str:
    """The URI of a resource of that type; it is made where it is not at hand."""
    match noun:
        case "domain":
            return DOMAIN
        case "feed":
            return feed
        case "pipe":
            return pipe
        case "join":
            return broker.join(pipe, feed, "another.address")
        case "content":
            return broker.stage(feed, b"bytes")
    broker.publish(feed, message(ADDRESS))
    return broker.messages(pipe)[0]
