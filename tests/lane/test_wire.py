"""Sending over the lane's wire to who reads too slowly."""

import socket

import pytest
import trio

from restms_node import lane_wire
from restms_node.lane_wire import Wire

SIZE = 1 << 20


async def test_who_reads_byte_by_byte_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_wire, "LEAST_PAUSE", 0.2)
    monkeypatch.setattr(lane_wire, "LEAST_RATE", 1 << 40)
    ours, theirs = socket.socketpair()
    with trio.socket.from_stdlib_socket(theirs) as reader:
        async with trio.open_nursery() as nursery:

            async def read_slowly() -> None:
                while True:  # so much that the socket can be written to now and then
                    await reader.recv(2048)
                    await trio.sleep(0.01)

            nursery.start_soon(read_slowly)
            wire = Wire(ours, nursery)
            with pytest.raises(trio.TooSlowError):
                await wire.send(bytes(SIZE), seconds=10)
            nursery.cancel_scope.cancel()
        wire.close()


def test_an_answer_is_given_time_by_its_size() -> None:
    assert lane_wire.least_seconds(0) == lane_wire.LEAST_PAUSE
    assert lane_wire.least_seconds(8 * SIZE) == lane_wire.LEAST_PAUSE + 1024
