"""Waits are counted while they are parked, and by how they end; wake-ups by what caused them."""

import httpx
import pytest

from tests.conformance.client import Client, unique
from tests.conformance.documents import message, numbered, restms
from tests.conformance.streaming import CBOR_SEQ, MULTIPART, SSE, Stream
from tests.conformance.websocket import JSON, WebSocket
from tests.metrics.scrapes import grows, told
from tests.waiting import wait_until

ENDED, WOKEN = "restms_waits_ended_total", "restms_wakeups_total"


def until_parked(urls: list[str], count: int = 1) -> None:
    wait_until(lambda: told(urls, "restms_waits") == count)


@pytest.mark.parametrize("node", [0, 1])
def test_a_wait_is_parked_until_it_is_answered(client: Client, urls: list[str], node: int) -> None:
    feed = client.create_feed(unique("news"), "fanout")
    pipe = client.create_joined(feed)
    with (
        grows(urls, ENDED, outcome="answered"),
        grows(urls, WOKEN, source="notification"),
        grows(urls, "restms_wait_duration_seconds_count"),
        grows(urls, "restms_request_duration_seconds_count", 0, route="message", method="GET"),
    ):
        waiting = client.on(node).get_later(client.asynclet(pipe))
        until_parked(urls)
        client.post_messages(feed, message())
        assert waiting.answer().status_code == 200
    until_parked(urls, 0)


@pytest.mark.parametrize("node", [0, 1])
def test_a_wait_whose_time_is_over_is_told_apart(
    client: Client, urls: list[str], node: int
) -> None:
    pipe = client.create_pipe()
    with grows(urls, ENDED, outcome="timeout"), grows(urls, "restms_wait_duration_seconds_count"):
        answer = client.on(node).get(client.asynclet(pipe), prefer="wait=1")
        assert answer.status_code == 204


@pytest.mark.parametrize("node", [0, 1])
def test_a_wait_ends_when_its_client_goes(client: Client, urls: list[str], node: int) -> None:
    pipe = client.create_pipe()
    with grows(urls, ENDED, outcome="gone"), pytest.raises(httpx.ReadTimeout):
        httpx.get(client.on(node).url(client.asynclet(pipe)), timeout=0.2)


def test_a_wait_ends_when_what_it_waits_for_is_deleted(client: Client, urls: list[str]) -> None:
    pipe = client.create_pipe()
    with grows(urls, ENDED, outcome="gone"):
        waiting = client.get_later(client.asynclet(pipe))
        until_parked(urls)
        client.delete(pipe)
        assert waiting.answer().status_code == 404


def test_what_scripts_publish_wakes_as_well(client: Client, urls: list[str]) -> None:
    feed = client.create_feed(unique("news"), "fanout")
    tag = client.get(feed).headers["etag"]
    with grows(urls, WOKEN, source="publish"):
        waiting = client.get_later(feed, when_none_match=tag)
        until_parked(urls)
        client.put(feed, restms(feed=[{"title": "new"}]))
        assert waiting.answer().status_code == 200


@pytest.mark.parametrize(
    ("kind", "accept"), [("events", SSE), ("multipart", MULTIPART), ("cbor-seq", CBOR_SEQ)]
)
def test_streams_are_among_the_waits(
    client: Client, urls: list[str], kind: str, accept: str
) -> None:
    feed = client.create_feed(unique("news"), "fanout")
    pipe = client.create_joined(feed)
    client.post_messages(feed, *numbered(2))
    with grows(urls, ENDED, outcome="gone"):
        with Stream(client, pipe, accept) as stream:
            stream.take(2)
            until_parked(urls)
            assert told(urls, "restms_streams", kind=kind) == told(urls, "restms_streams") == 1
        until_parked(urls, 0)
    assert told(urls, "restms_streams") == 0


def test_a_websocket_is_a_stream(client: Client, urls: list[str]) -> None:
    pipe = client.create_pipe()
    with (
        grows(urls, ENDED, outcome="gone"),
        grows(urls, "restms_requests_total", route="pipe", method="GET", status="101"),
    ):
        with WebSocket(client, pipe, JSON):
            wait_until(lambda: told(urls, "restms_streams", kind="websocket") == 1)
        wait_until(lambda: told(urls, "restms_streams") == 0)
