"""WebSockets whose clients break the protocol, or overdo it."""

import pytest
import trio

from restms_cluster import pipes
from restms_cluster.broker import Broker
from restms_node import connections
from restms_node.subprotocols import FRAME_BYTES
from tests.peers.conftest import Peer, Served, new_pipe
from tests.waiting import until

MASK = bytes(4)
PING = b"\x89\xfd" + MASK + bytes(125)
TEXT, CONTINUED = b"\x01", b"\x00"  # without FIN
CLOSE, NO_FRAME = b"\x88", bytes(6) + b"\xff\xff\xff\xff"


def fragment(kind: bytes, size: int) -> bytes:
    """A frame after which more of its message is to come."""
    return kind + b"\xfe" + size.to_bytes(2) + MASK + b"x" * size


async def listening(served: Served, broker: Broker) -> Peer:
    """A client with a WebSocket."""
    peer = await served.connect()
    await peer.open_socket(await new_pipe(broker))
    assert served.node.waits.parked == 1
    return peer


async def ping_on(peer: Peer, pause: float = 0) -> None:
    """Send pings for as long as the connection lasts."""
    while True:
        await peer.stream.send_all(PING)
        await trio.sleep(pause)


@pytest.mark.parametrize(
    ("code", "sent"),
    [(1009, fragment(TEXT, FRAME_BYTES + 1)), (1002, NO_FRAME)],
    ids=["too large", "no frame"],
)
async def test_who_errs_gives_his_place_back_and_holds_no_drain_up(
    code: int, sent: bytes, served: Served, broker: Broker
) -> None:
    peer = await listening(served, broker)
    await peer.stream.send_all(sent)
    await peer.until(CLOSE + b"\x02" + code.to_bytes(2))
    await until(lambda: served.node.waits.parked == 0)
    await served.stop()  # though the client never closes


async def test_a_message_in_fragments_counts_as_a_whole(served: Served, broker: Broker) -> None:
    peer = await listening(served, broker)
    await peer.stream.send_all(fragment(TEXT, 1000))
    with trio.fail_after(10):
        for _ in range(FRAME_BYTES // 1000):
            await peer.stream.send_all(fragment(CONTINUED, 1000))
        await peer.until(CLOSE + b"\x02" + (1009).to_bytes(2))


@pytest.mark.usefixtures("impatient")
async def test_pings_of_who_does_not_read_the_answers_end(served: Served, broker: Broker) -> None:
    peer = await listening(served, broker)
    with trio.fail_after(10), pytest.raises(trio.BrokenResourceError):
        await ping_on(peer)  # what is not answered is not read: soon this waits
    await until(lambda: (served.node.waits.parked, served.connections) == (0, 0))


async def test_pings_are_answered_while_they_are_read(served: Served, broker: Broker) -> None:
    peer = await listening(served, broker)
    async with trio.open_nursery() as sending:
        sending.start_soon(peer.stream.send_all, PING * 1000)
        with trio.fail_after(10):
            while peer.come.count(b"\x8a\x7d") < 1000:
                peer.come += await peer.stream.receive_some()
    assert served.node.waits.parked == 1


async def test_who_does_not_answer_a_close_is_left(
    served: Served, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "PARTING_SECONDS", 0.5)
    pipe = await new_pipe(broker)
    peer = await served.connect()
    await peer.open_socket(pipe)
    await pipes.delete(broker, pipe)
    with trio.fail_after(10), pytest.raises(trio.BrokenResourceError):
        await ping_on(peer, 0.01)
    await until(lambda: (served.node.waits.parked, served.connections) == (0, 0))
