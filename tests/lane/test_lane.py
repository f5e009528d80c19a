"""The lane as its clients see it, byte by byte."""

import logging
from ipaddress import ip_network

import pytest
import trio
import trio.testing

from restms_cluster.broker import Broker
from restms_node import lane_requests
from restms_node.exchange import Answer, Request
from restms_node.node import Node
from tests.lane.conftest import (
    XML,
    Served,
    Serving,
    get,
    head,
    new_pipe,
    post,
    put_in,
)
from tests.waiting import until

LARGE = 70_000  # a content that comes by a URI of its own
SOME = "p" + "0" * 32 + "-1"


def serve_instead(monkeypatch: pytest.MonkeyPatch, handler: lane_requests.Handler) -> None:
    """Have another function answer those who read messages."""
    table = {**lane_requests.SERVED, ("GET", "message", ""): handler}
    monkeypatch.setattr(lane_requests, "SERVED", table)


async def test_messages_are_published_read_and_deleted(served: Served, broker: Broker) -> None:
    pipe, client = await new_pipe(broker), await served.connect()
    await client.send(post("hello", address=str(pipe)))
    assert b'count="1"' in (await client.answer()).body
    await client.send(get(pipe.message(1)))
    assert b">hello<" in (await client.answer()).body
    await client.send(head("DELETE", f"/restms/resource/{pipe}-1"))
    assert (await client.answer()).status == 200
    await client.send(get(pipe.message(1)))
    refused = await client.answer()
    assert (refused.status, refused.headers["restms-error"]) == (404, "not_found")


async def test_an_asynclet_is_answered_when_the_message_comes(
    served: Served, broker: Broker
) -> None:
    pipe, client = await new_pipe(broker), await served.connect()
    await client.send(get(pipe.message(1), "Prefer: wait=10"))
    await until(lambda: served.node.waits.parked == 1)
    await put_in(broker, pipe, "at last")
    answer = await client.answer()
    assert b">at last<" in answer.body
    assert answer.headers["preference-applied"] == "wait=10"


async def test_a_wait_that_is_over_is_204(served: Served, broker: Broker) -> None:
    pipe, client = await new_pipe(broker), await served.connect()
    await client.send(get(pipe.message(1), "Prefer: wait=1"), get(pipe.message(2)))
    assert (await client.answer()).status == 204
    assert (await client.answer()).status == 404


async def test_uris_have_the_host_that_was_asked(served: Served, broker: Broker) -> None:
    pipe, client = await new_pipe(broker), await served.connect()
    await put_in(broker, pipe, "x" * LARGE)
    for host in ("a.example", "b.example:81"):
        await client.send(head("GET", f"/restms/resource/{pipe}-1", host=host))
        assert f'href="http://{host}/restms/'.encode() in (await client.answer()).body


async def test_a_trusted_proxy_tells_the_host(serving: Serving, broker: Broker) -> None:
    pipe = await new_pipe(broker)
    await put_in(broker, pipe, "x" * LARGE)
    forwarded = ("X-Forwarded-Host: public.example", "X-Forwarded-Proto: https")
    for proxy, base in (("127.0.0.0/8", "https://public.example"), ("10.0.0.0/8", "http://node")):
        async with serving(trusted_proxies=(ip_network(proxy),)) as served:
            client = await served.connect()
            await client.send(get(pipe.message(1), *forwarded))
            assert f'href="{base}/restms/'.encode() in (await client.answer()).body


async def test_requests_sent_ahead_are_answered_in_order(served: Served, broker: Broker) -> None:
    pipe, client = await new_pipe(broker), await served.connect()
    await client.send(*(post(str(n), address=str(pipe)) for n in range(20)))
    await client.send(*(get(pipe.message(n + 1)) for n in range(20)))
    assert [(await client.answer()).status for _ in range(20)] == [200] * 20
    for n in range(20):
        assert f">{n}<".encode() in (await client.answer()).body


async def test_requests_sent_ahead_of_a_wait_have_their_turn_after_it(
    served: Served, broker: Broker
) -> None:
    pipe, client = await new_pipe(broker), await served.connect()
    await client.send(get(pipe.message(1)))
    await until(lambda: served.node.waits.parked == 1)
    await client.send(post("no one's"), get(pipe.message(1)))
    await put_in(broker, pipe, "mine")
    assert b">mine<" in (await client.answer()).body
    assert b'count="0"' in (await client.answer()).body
    assert b">mine<" in (await client.answer()).body


async def test_a_request_may_come_in_any_pieces(served: Served, broker: Broker) -> None:
    pipe, client = await new_pipe(broker), await served.connect()
    request = post("x" * 100, address=str(pipe))
    for place in range(0, len(request), 7):
        await client.send(request[place : place + 7])
        await trio.testing.wait_all_tasks_blocked()
    assert b'count="1"' in (await client.answer()).body


async def test_a_large_document_is_read_whole(served: Served, broker: Broker) -> None:
    pipe, client = await new_pipe(broker), await served.connect()
    await client.send(post("x" * 1_500_000, address=str(pipe)), post("small", address=str(pipe)))
    assert [(await client.answer()).status for _ in range(2)] == [200, 200]
    await client.send(get(pipe.message(2)))
    assert b">small<" in (await client.answer()).body


async def test_a_client_may_close_the_connection_with_its_request(served: Served) -> None:
    client = await served.connect()
    await client.send(post("last", "Connection: close"), post("unheard"))
    answer = await client.answer()
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert await client.ended() == b""


async def test_a_half_closed_client_gets_its_answer(served: Served) -> None:
    client = await served.connect()
    await client.send(post("and goodbye"))
    await client.stream.send_eof()
    assert (await client.answer()).status == 200
    assert await client.ended() == b""


async def test_a_client_that_goes_ends_its_wait_at_once(served: Served, broker: Broker) -> None:
    pipe, client = await new_pipe(broker), await served.connect()
    await client.send(get(pipe.message(1)))
    await until(lambda: served.node.waits.parked == 1)
    await client.stream.aclose()
    await until(lambda: served.node.waits.parked == 0)


async def test_a_client_that_goes_has_sent_more_before(served: Served, broker: Broker) -> None:
    pipe, client = await new_pipe(broker), await served.connect()
    await client.send(get(pipe.message(1)))
    await until(lambda: served.node.waits.parked == 1)
    await client.send(post("ahead"))
    await client.stream.aclose()
    await until(lambda: served.node.waits.parked == 0)


# What is refused


SMUGGLED = [
    post("x", "Transfer-Encoding: chunked"),
    post("x", "Content-Length: 1"),
    head("POST", "/restms/feed/default", XML, "Content-Length: +5"),
    head("POST", "/restms/feed/default", XML, "Content-Length: 5 5"),
    get(SOME, "A : b"),
    get(SOME, "A: b", " folded"),
    get(SOME, "A: b\nC: d"),
    get(SOME, "A: b\0"),
    get(SOME, "Host: other"),
    head("GET", "/restms/resource/p" + "0" * 32 + "-1", host="a b"),
    b"GET /restms/resource/p" + b"0" * 32 + b"-1 HTTP/1.1\r\nHost: a\n\n",
]


@pytest.mark.parametrize("request_", SMUGGLED, ids=repr)
async def test_what_could_smuggle_is_400_and_the_connection_ends(
    served: Served, request_: bytes
) -> None:
    client = await served.connect()
    await client.send(request_, post("smuggled"))
    answer = await client.answer()
    assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.body.count(b"\n") == 1
    assert await client.ended() == b""


@pytest.mark.parametrize("sent", [b"", post("x")[:40]], ids=["nothing", "part of a head"])
async def test_who_sends_no_request_is_cut_off(serving: Serving, sent: bytes) -> None:
    async with serving(idle_seconds=0.1) as served:
        client = await served.connect()
        await client.send(sent)
        assert await client.ended() == b""


async def test_who_is_idle_after_an_answer_is_cut_off(serving: Serving) -> None:
    async with serving(idle_seconds=0.5) as served:
        client = await served.connect()
        await client.send(post("x"))
        assert (await client.answer()).status == 200
        assert await client.ended() == b""
        assert not served.lane.idle


async def test_a_wait_is_not_idle(serving: Serving, broker: Broker) -> None:
    async with serving(idle_seconds=0.5) as served:
        pipe, client = await new_pipe(broker), await served.connect()
        await client.send(get(pipe.message(1), "Prefer: wait=1"))
        assert (await client.answer()).status == 204


async def test_a_body_that_comes_too_slowly_is_400(serving: Serving) -> None:
    async with serving(body_seconds=0.1) as served:
        client = await served.connect()
        await client.send(post("x")[:-1])
        answer = await client.answer()
        assert (answer.status, answer.body) == (400, b"The body took too long to come.\n")
        assert await client.ended() == b""


async def test_half_a_body_is_no_request(served: Served) -> None:
    client = await served.connect()
    await client.send(post("x")[:-1])
    await client.stream.send_eof()
    assert await client.ended() == b""


async def test_who_does_not_read_its_answer_is_cut_off(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 64 << 20

    async def large(node: Node, request: Request, target: object) -> Answer:
        return Answer(200, body=b"x" * size)

    serve_instead(monkeypatch, large)
    async with serving(idle_seconds=0.1) as served:
        deaf = await served.connect()
        await deaf.send(get(SOME))
        await until(lambda: served.connections == 1)
        await until(lambda: served.connections == 0)
        assert len(await deaf.ended()) < size


async def test_an_unexpected_error_is_500_and_tells_no_secret(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(node: Node, request: Request, target: object) -> Answer:
        raise ZeroDivisionError

    secret = "0123456789abcdef" * 2
    serve_instead(monkeypatch, broken)
    client, other = await served.connect(), await served.connect()
    with caplog.at_level(logging.ERROR, "restms.lane"):
        await client.send(get(f"p{secret}-1"))
        answer = await client.answer()
    assert (answer.status, answer.body) == (500, b"The server met an unexpected error.\n")
    assert await client.ended() == b""
    assert "ZeroDivisionError" in caplog.text
    assert "p0123…-1" in caplog.text
    assert secret not in caplog.text
    await other.send(post("goes on"))
    assert (await other.answer()).status == 200


# What is given away


ELSEWHERE = [
    head("GET", "/restms/domain/default"),
    head("PUT", "/restms/feed/default", "Content-Length: 2") + b"ab",
    head("POST", "/restms/feed/default", XML, "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    head("POST", "/restms/feed/default", XML, "Expect: 100-continue", "Content-Length: 5"),
    head("GET", "/restms/resource/p" + "0" * 32, "Upgrade: other", "Connection: upgrade"),
    post("x", "Origin: http://page.example"),
    get("p0"),
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET /restms/domain/default HTTP/1.0\r\n\r\n",
    b"GET /restms/domain/default HTTP/1.1\nHost: a\n\n",
    b"GET /restms/resource/p0-1 HTTP/1.1\r\nA: " + b"b" * 20_000,
    b"\r\n" + post("x"),
]


@pytest.mark.parametrize("request_", ELSEWHERE, ids=lambda data: repr(data[:60]))
async def test_everything_else_is_given_away_from_its_first_byte(
    served: Served, request_: bytes
) -> None:
    client = await served.connect()
    await client.send(post("before"))
    assert (await client.answer()).status == 200
    await client.send(request_)
    assert (await client.answer()).status == 299
    assert len(served.given_away) == 1
    assert request_.startswith(served.given_away[0])


async def test_what_was_sent_ahead_is_given_away_too(served: Served) -> None:
    client = await served.connect()
    elsewhere = head("GET", "/livez")
    await client.send(post("before"), elsewhere, post("after"))
    assert [(await client.answer()).status for _ in range(2)] == [200, 299]
    assert served.given_away == [elsewhere + post("after")]


# Draining


async def test_a_drain_answers_the_waits_and_ends_their_connections(
    served: Served, broker: Broker
) -> None:
    pipe, client = await new_pipe(broker), await served.connect()
    await client.send(get(pipe.message(1)))
    await until(lambda: served.node.waits.parked == 1)
    served.node.waits.drain()
    answer = await client.answer()
    assert (answer.status, answer.headers["retry-after"]) == (503, "0")
    assert answer.headers["connection"] == "close"
    assert await client.ended() == b""


async def test_the_end_closes_idle_connections_and_lets_requests_finish(
    served: Served, broker: Broker
) -> None:
    pipe, idle, busy = await new_pipe(broker), await served.connect(), await served.connect()
    request = post("under way", address=str(pipe))
    for client in (idle, busy):
        await client.send(post("first"))
        await client.answer()
    await busy.send(request[:-10])
    await until(lambda: len(served.lane.idle) == 1)
    served.node.waits.drain()
    served.lane.close()
    assert await idle.ended() == b""
    await busy.send(request[-10:])
    answer = await busy.answer()
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert await busy.ended() == b""


async def test_the_first_request_of_a_new_connection_is_answered_though_the_end_has_come(
    served: Served,
) -> None:
    early, silent = await served.connect(), await served.connect()
    await until(lambda: len(served.lane.idle) == 2)
    served.node.waits.drain()
    served.lane.close()
    late = await served.connect()
    for client in (early, late):
        await client.send(post("first"))
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await client.ended() == b""
    assert await silent.ended() == b""
