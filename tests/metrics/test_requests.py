"""Requests are counted by what they are about. No name that a client makes up is a label."""

import re
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest

from restms_cluster import errors
from restms_node.metrics_table import FAMILIES
from tests.conformance.client import Client, unique
from tests.conformance.documents import message, text
from tests.metrics.scrapes import Scrape, grows, scrape

COUNT = "restms_requests_total"
XML = {"content-type": "text/xml"}
ROUTES = {
    *("domain", "profile", "feed", "pipe", "join", "message", "content"),
    *("health", "metrics", "openapi", "other"),
}
METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "other"}


def resources(client: Client) -> Iterator[tuple[str, str]]:
    """One of each kind: what the metrics call it, and its URI."""
    feed = client.create_feed(unique("news"), "fanout")
    pipe = client.create_pipe()
    join = client.join(pipe, feed)
    client.post_messages(feed, message("", text("a")))
    yield "feed", feed
    yield "feed", client.create_feed()  # a private one
    yield "pipe", pipe
    yield "join", join
    yield "message", client.messages(pipe)[0]
    yield "content", client.stage(feed, b"bytes")
    yield "domain", "/restms/domain/default"
    yield "profile", "/restms/profile/3/Defaults"
    yield "health", "/livez"
    yield "health", "/readyz"
    yield "openapi", "/openapi.json"
    yield "other", "/nothing/here"


@pytest.mark.parametrize("node", [0, 1])
def test_each_noun_is_a_route(client: Client, urls: list[str], node: int) -> None:
    made = list(resources(client))
    before = scrape(urls[node])
    for route, uri in made:
        assert client.on(node).get(uri).status_code == (404 if route == "other" else 200)
    after = scrape(urls[node])
    for route, number in Counter(route for route, _ in made).items():
        asked = {"route": route, "method": "GET", "status": "404" if route == "other" else "200"}
        assert after.value(COUNT, **asked) == before.value(COUNT, **asked) + number
    assert {sample.labels["route"] for sample in after.samples(COUNT)} <= ROUTES


@pytest.mark.parametrize("node", [0, 1])
def test_a_request_that_does_not_wait_has_a_duration(
    client: Client, urls: list[str], node: int
) -> None:
    feed = client.create_feed(unique("news"), "fanout")
    timed = {"route": "feed", "method": "POST"}
    with (
        grows(urls, COUNT, **timed, status="200"),
        grows(urls, "restms_request_duration_seconds_count", **timed),
        grows(urls, "restms_script_duration_seconds_count", script="message_publish"),
    ):
        client.on(node).post_messages(feed, message())


@pytest.mark.parametrize("node", [0, 1])
def test_a_refusal_is_counted_by_its_word(client: Client, urls: list[str], node: int) -> None:
    words = {error.word for error in vars(errors).values() if hasattr(error, "word")}
    on, feed = client.on(node), client.create_feed(unique("news"))
    gone = f"{client.create_pipe()}-7"
    refused = {
        "not_found": lambda: on.get(gone),
        "bad_request": lambda: on.request("POST", feed, body=b"{", headers=XML),
        "forbidden": lambda: on.request("PATCH", feed),
        "unsupported_type": lambda: on.get(feed, accept="image/png"),
    }
    assert refused.keys() <= words
    for word, request in refused.items():
        with grows(urls, "restms_refusals_total", reason=word):
            assert request().headers["restms-error"] == word


def test_what_is_no_http_is_counted_as_well(urls: list[str]) -> None:
    for url in urls:
        with grows([url], "restms_refusals_total", reason="bad_request"):
            assert (
                httpx.get(f"{url}/restms/feed/default", headers={"host": "a b"}).status_code == 400
            )


def strange(client: Client, number: int) -> None:
    """Requests for what is not there, by methods that there are not."""
    odd = unique(f"odd{number}")
    for node in (0, 1):
        on = client.on(node)
        for path in (f"/{odd}", f"/restms/feed/{odd}", f"/restms/domain/{odd}", f"/metrics/{odd}"):
            on.request("GET", path)
            on.request(f"M{number}", path)
            on.request("GET", path, headers={odd: odd, "accept": f"{odd}/{odd}"})


def test_neither_names_nor_uris_are_told_and_series_do_not_grow_with_them(
    client: Client, urls: list[str]
) -> None:
    def traffic(number: int) -> set[str]:
        made = {uri for _, uri in resources(client)}
        for uri in made:
            client.get(uri)
        strange(client, number)
        return made

    for node in (0, 1):
        traffic(node)  # whoever is asked for what
    names = {re.split("/", uri)[-1] for uri in traffic(1)}
    before = [scrape(url) for url in urls]
    names |= {re.split("/", uri)[-1] for uri in traffic(2)}
    after = [scrape(url) for url in urls]
    names -= {"default", "Defaults", "livez", "readyz", "here", "openapi.json"}
    assert len(names) > 10
    for one, other in zip(before, after, strict=True):
        assert {name for name in names if name in other.text} == set()
        assert "odd" not in other.text
        values = {value for sample in other.every for value in sample.labels.values()}
        assert not [value for value in values if re.search("[0-9a-f]{8}", value)]
        assert other.series == one.series
        check_labels(other)


def check_labels(told: Scrape) -> None:
    """Every label has one of few values."""
    allowed = {family.name: set(family.labels) for family in FAMILIES}
    for sample in (sample for family in told.families for sample in family.samples):
        name = re.sub("_(bucket|count|sum)$", "", sample.name)
        assert set(sample.labels) - {"le"} == allowed.get(sample.name, allowed.get(name))
        assert sample.labels.get("route", "other") in ROUTES
        assert sample.labels.get("method", "other") in METHODS
        assert sample.labels.get("domain", "default") == "default"


def test_buckets_are_cumulative_and_end_with_all(client: Client, urls: list[str]) -> None:
    list(resources(client))
    for url in urls:
        told = scrape(url)
        histograms = [family for family in told.families if family.type == "histogram"]
        assert len(histograms) == 4
        for family in histograms:
            by_labels: dict[frozenset[tuple[str, str]], list[tuple[float, float]]] = {}
            for sample in told.samples(f"{family.name}_bucket"):
                labels = dict(sample.labels)
                bound = float(labels.pop("le"))
                by_labels.setdefault(frozenset(labels.items()), []).append((bound, sample.value))
            assert by_labels
            for key, buckets in by_labels.items():
                bounds, numbers = zip(*buckets, strict=True)
                assert list(bounds) == sorted(bounds)
                assert list(numbers) == sorted(numbers)
                assert bounds[-1] == float("inf")
                assert numbers[-1] == told.value(f"{family.name}_count", **dict(key))
                assert told.value(f"{family.name}_sum", **dict(key)) >= 0
