"""Readers that are slow, writers that are slow, and clients that leave in the middle."""

import logging

import pytest
import trio

from restms_cluster import uploads
from restms_cluster.broker import Broker
from restms_node import app
from tests.peers.conftest import FEED, FEED_PATH, Peer, Served, Serving, new_pipe
from tests.waiting import until

MIB = 1 << 20
ITEM = b"\xa1\x67address\x61x"  # {"address": "x"}
CHUNKED = "Transfer-Encoding: chunked"


async def content(broker: Broker, size: int) -> str:
    """Stage a content and return its path."""
    whole = uploads.whole(bytes(size))
    token = await uploads.stage(broker, FEED, "video/mp4", whole, pause_seconds=30)
    return f"/restms/resource/{token}"


def chunk(data: bytes) -> bytes:
    """Bytes as a chunk of a body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


async def read_slowly(peer: Peer) -> None:
    """Read a byte of an answer now and then."""
    while await peer.stream.receive_some(1):
        await trio.sleep(0.01)


@pytest.mark.usefixtures("impatient")
async def test_who_reads_an_answer_byte_by_byte_is_cut_off(served: Served, broker: Broker) -> None:
    peer = await served.connect()
    await peer.send("GET", await content(broker, MIB))
    async with trio.open_nursery() as reading:
        reading.start_soon(read_slowly, peer)
        await until(lambda: served.connections == 0)
        reading.cancel_scope.cancel()
    assert len(await peer.ended()) < MIB


async def test_who_reads_byte_by_byte_holds_no_drain_up(
    serving_at: Serving, broker: Broker
) -> None:
    async with serving_at(drain_seconds=0.2) as served, trio.open_nursery() as reading:
        peer = await served.connect()
        await peer.send("GET", await content(broker, MIB))
        await peer.until(b"\r\n\r\n")
        reading.start_soon(read_slowly, peer)
        await served.stop()
        reading.cancel_scope.cancel()


async def test_who_leaves_gives_his_place_back_at_once(served: Served) -> None:
    peer = await served.connect()
    await peer.send("GET", "/livez")
    await peer.until(b"\r\n\r\n")
    assert served.connections == 1
    await peer.stream.aclose()
    await until(lambda: served.connections == 0)


async def test_an_answer_to_who_has_left_is_no_error(
    served: Served, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    path, pipe = await content(broker, MIB), await new_pipe(broker)

    async def read_some(peer: Peer) -> None:
        await peer.send("GET", path)
        await peer.until(b"\r\n\r\n")

    async def leave_after_asking(peer: Peer) -> None:
        await peer.send("GET", path)

    async def upload_some(peer: Peer) -> None:
        await peer.send("POST", FEED_PATH, "Content-Type: a/b", CHUNKED, body=chunk(bytes(999)))

    async def ask_twice(peer: Peer) -> None:
        await peer.send("GET", "/restms/domain/default")
        await peer.send("GET", "/restms/domain/default")

    async def listen(peer: Peer) -> None:
        await peer.open_socket(pipe)

    async def follow(peer: Peer) -> None:
        await peer.send("GET", f"/restms/resource/{pipe}", "Accept: text/event-stream")
        await peer.until(b"\r\n\r\n")

    for doing in (read_some, leave_after_asking, upload_some, ask_twice, listen, follow):
        for _ in range(5):
            peer = await served.connect()
            await doing(peer)
            await peer.reset()
    await until(lambda: served.connections == 0)
    told = [line for line in caplog.records if line.name != "restms.member"]
    assert [line for line in told if line.exc_info or line.levelno > logging.INFO] == []


async def trickle(peer: Peer) -> None:
    """Send a byte of a body now and then."""
    while True:
        await peer.stream.send_all(chunk(b"x"))
        await trio.sleep(0.02)


async def test_a_content_that_comes_in_a_trickle_is_refused(
    serving_at: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "LEAST_RATE", 1000)
    async with serving_at(body_seconds=0.5) as served, trio.open_nursery() as writing:
        peer = await served.connect()
        await peer.send("POST", FEED_PATH, "Content-Type: a/b", CHUNKED)
        writing.start_soon(trickle, peer)
        with trio.fail_after(10):
            await peer.until(b"The body took too long to come.\n")
        writing.cancel_scope.cancel()
    assert peer.come.startswith(b"HTTP/1.1 400 ")


async def test_who_was_quick_may_pause_and_messages_may_come_in_a_trickle(
    serving_at: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "LEAST_RATE", 1000)
    async with serving_at(body_seconds=0.5) as served:
        for kind, some in (("a/b", bytes(1000)), ("application/cbor-seq", ITEM)):
            peer = await served.connect()
            await peer.send("POST", FEED_PATH, f"Content-Type: {kind}", CHUNKED)
            for _ in range(4):
                await peer.stream.send_all(chunk(some))
                await trio.sleep(0.3)
            await peer.stream.send_all(b"0\r\n\r\n")
            with trio.fail_after(10):
                await peer.until(b"\r\n\r\n")
            assert peer.come.startswith(b"HTTP/1.1 20")
