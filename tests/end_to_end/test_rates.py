"""Rates at real nodes: one with the lane and one without, which count together."""

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.access.conftest import basic
from tests.end_to_end.conftest import Client, until
from tests.end_to_end.test_access import restms
from tests.nodes import Cluster

QUOTA, WINDOW = 20, 10
MESSAGE = '<message address="a"/>'
DOMAIN = "/restms/domain/default"
FEED = "/restms/feed/default"
TAKEN = re.compile(r'"(\w+)";r=(\d+);t=(\d+)')


def pair(*options: str) -> Cluster:
    cluster = Cluster(1, *options)
    cluster.add("--no-lane")
    return cluster


def as_client(number: int) -> dict[str, str]:
    """Headers by which a proxy tells of one of many clients."""
    return {"X-Forwarded-For": f"198.51.100.{number}"}


@pytest.fixture(scope="module")
def limited() -> Iterator[Cluster]:
    rates = ("--request-rate", f"{QUOTA}/{WINDOW}s", "--message-rate", "6/10s")
    with pair(*rates, "--trusted-proxies", "127.0.0.1", "--max-waits-each", "2") as cluster:
        yield cluster


@pytest.fixture
def client(limited: Cluster) -> Iterator[Client]:
    one = Client(limited)
    yield one
    one.close()


def test_no_more_requests_come_through_than_the_rate(client: Client) -> None:
    begun, granted, refused = time.monotonic(), 0, 0
    while refused < 10:
        answer = client.send("GET", FEED, **as_client(1))
        if answer.status_code == 429:
            refused += 1
            assert answer.headers["restms-error"] == "too_many_requests"
            assert 1 <= int(answer.headers["retry-after"]) <= WINDOW
        else:
            assert answer.status_code == 200
            granted += 1
        assert answer.headers["ratelimit-policy"] == f'"requests";q={QUOTA};w={WINDOW}'
        assert TAKEN.fullmatch(answer.headers["ratelimit"])
        assert granted <= QUOTA + QUOTA * (time.monotonic() - begun) / WINDOW
    assert granted >= QUOTA
    assert client.send("GET", FEED, **as_client(2)).status_code == 200  # others may go on


def test_who_waits_as_told_is_served(client: Client) -> None:
    while (answer := client.send("GET", FEED, **as_client(3))).status_code == 200:
        pass
    time.sleep(int(answer.headers["retry-after"]))
    assert client.send("GET", FEED, **as_client(3)).status_code == 200


def test_what_is_left_is_told(client: Client) -> None:
    answer = client.send("GET", FEED, **as_client(4))
    assert answer.headers["ratelimit"] == f'"requests";r={QUOTA - 1};t=1'


def test_requests_sent_ahead_are_counted_one_by_one(limited: Cluster) -> None:
    for number, url in enumerate(limited.urls, start=5):
        address = urlsplit(url)
        head = f"GET {FEED} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 198.51.100.{number}\r\n\r\n"
        last = head.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
        with socket.create_connection((address.hostname, address.port), 20) as raw:
            raw.sendall(head.encode() * (QUOTA * 2 - 1) + last.encode())
            answers = b"".join(iter(lambda raw=raw: raw.recv(65536), b""))
        served = answers.count(b"HTTP/1.1 200")
        assert QUOTA <= served <= QUOTA + 5
        assert answers.count(b"HTTP/1.1 429") == 2 * QUOTA - served


@pytest.mark.parametrize("node", [0, 1])
def test_messages_are_counted_and_not_only_requests(client: Client, node: int) -> None:
    who = as_client(10 + node)
    four = f"<restms>{MESSAGE * 4}</restms>"
    answer = client.send("POST", FEED, four, node=node, **who)
    assert answer.status_code == 200
    assert answer.headers["ratelimit"].count('"messages";r=2') == 1
    answer = client.send("POST", FEED, four, node=1 - node, **who)
    assert (answer.status_code, "messages in" in answer.text) == (429, True)
    one = f"<restms>{MESSAGE}</restms>"
    assert client.send("POST", FEED, one, node=node, **who).status_code == 200
    seven = f"<restms>{MESSAGE * 7}</restms>"
    assert client.send("POST", FEED, seven, node=node, **who).status_code == 413


def test_a_body_is_not_awaited_of_who_asks_too_often(limited: Cluster, client: Client) -> None:
    who = as_client(12)
    while client.send("GET", FEED, **who).status_code == 200:
        pass
    for url in limited.urls:
        address = urlsplit(url)
        head = (
            f"POST {FEED} HTTP/1.1\r\nHost: a\r\nContent-Type: application/restms+xml\r\n"
            f"Content-Length: 100000\r\nX-Forwarded-For: {who['X-Forwarded-For']}\r\n\r\n"
        )
        with socket.create_connection((address.hostname, address.port), 20) as raw:
            raw.sendall(head.encode())
            assert raw.recv(65536).startswith(b"HTTP/1.1 429")


def test_a_stream_is_slowed_and_not_refused(client: Client) -> None:
    begun = time.monotonic()
    item = b"\xa1\x67address\x61a"  # the CBOR of {"address": "a"}
    headers = {"Content-Type": "application/cbor-seq", **as_client(13)}
    answer = client.send("POST", FEED, item * 8, **headers)
    assert (answer.status_code, answer.headers.get("restms-routed")) == (200, "8"), answer.text
    assert time.monotonic() - begun >= 3  # two more than six are there after 3.3 seconds


def test_a_stream_that_had_to_pause_for_too_long_is_told_how_far_it_came(
    client_of: Callable[[Cluster], Client],
) -> None:
    with Cluster(1, "--message-rate", "3/h") as cluster:
        item = b"\xa1\x67address\x61a"
        headers = {"Content-Type": "application/cbor-seq"}
        answer = client_of(cluster).send("POST", FEED, item * 5, **headers)
    assert answer.status_code == 429
    routed = int(answer.headers["restms-routed"])
    assert 1 <= routed <= 3
    assert answer.text == (
        f"More than 3 messages in 3600 seconds; messages of the stream routed before: {routed}.\n"
    )


def test_health_is_told_without_end(limited: Cluster) -> None:
    for _ in range(QUOTA * 2):
        assert httpx.get(limited.urls[0] + "/livez", headers=as_client(14)).status_code == 200


def test_one_client_does_not_take_all_places_of_waits(client: Client) -> None:
    pipe = client.send(
        "POST", "/restms/domain/default", "<restms><pipe/></restms>", **as_client(15)
    )
    uri = pipe.headers["location"]
    waits = [client.later("GET", f"{uri}-1", node=0, **as_client(15)) for _ in range(3)]
    until(lambda: any(wait.done() for wait in waits))
    [refused] = [wait.result() for wait in waits if wait.done()]
    assert (refused.status_code, "as many waiting" in refused.text) == (503, True)
    other = client.send("GET", f"{uri}-1", node=0, Prefer="wait=1", **as_client(16))
    assert other.status_code == 204
    client.send("DELETE", uri, **as_client(17))
    assert sorted(wait.result().status_code for wait in waits) == [404, 404, 503]


def test_the_audit_log_tells_who_asked_too_often(
    tmp_path: Path, client_of: Callable[[Cluster], Client]
) -> None:
    restms("passwd", tmp_path / "users", "alice", told="correct horse")
    config, log = tmp_path / "restms.toml", tmp_path / "audit.log"
    config.write_text(
        """
        request_rate = "2/h"
        [[authenticator]]
        type = "basic"
        file = "users"
        [[rule]]
        principal = "alice"
        verbs = ["inspect"]
        domain = "*"
        feed = "*"
        """
    )
    with pair("--config", str(config), "--audit-log", str(log)) as cluster:
        client = client_of(cluster)
        who = {"Authorization": basic("alice", "correct horse")}
        # By the web framework and by the lane: the domain, and the feed to which is published.
        statuses = [client.send("GET", DOMAIN, **who).status_code for _ in range(3)]
        refused = client.send("POST", FEED, f"<restms>{MESSAGE}</restms>", **who)
    assert [*statuses, refused.status_code] == [200, 200, 429, 429]
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["principal"], line["status"]) for line in lines] == [("alice", 429)] * 2


def test_guesses_are_few_and_who_is_known_goes_on(
    tmp_path: Path, client_of: Callable[[Cluster], Client]
) -> None:
    restms("passwd", tmp_path / "users", "alice", told="correct horse")
    config = tmp_path / "restms.toml"
    config.write_text(
        """
        login_rate = "3/h"
        request_rate = "1/h"
        [[authenticator]]
        type = "basic"
        file = "users"
        [[rule]]
        principal = "*"
        verbs = ["configure", "publish", "subscribe", "inspect"]
        domain = "*"
        feed = "*"
        [[rate]]
        principal = "alice"
        requests = "off"
        """
    )
    with pair("--config", str(config)) as cluster:
        client = client_of(cluster)
        right, wrong = basic("alice", "correct horse"), basic("alice", "guess")
        for node in (0, 1):
            assert client.send("GET", FEED, node=node, Authorization=right).status_code == 200
        statuses = [client.send("GET", FEED, Authorization=wrong).status_code for _ in range(6)]
        assert statuses == [401] * 3 + [429] * 3
        # From the same address, whoever has shown already that he is right.
        for _ in range(4):
            assert client.send("GET", FEED, Authorization=right).status_code == 200


def test_a_domain_takes_no_more_pipes_than_its_own_limit(
    tmp_path: Path, client_of: Callable[[Cluster], Client]
) -> None:
    config = tmp_path / "restms.toml"
    config.write_text('[[domain]]\nname = "guests"\npipes_per_domain = 2\n')
    with pair("--config", str(config)) as cluster:
        client = client_of(cluster)
        made = [
            client.send("POST", "/restms/domain/guests", "<restms><pipe/></restms>").status_code
            for _ in range(3)
        ]
        assert made == [201, 201, 403]
        answer = client.send("POST", "/restms/domain/default", "<restms><pipe/></restms>")
        assert answer.status_code == 201
