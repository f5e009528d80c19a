"""What of Hypercorn's insides ours stand on. Where this fails, read its changes before all else."""

import inspect

import h11
import pytest
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.ws_stream import WSStream
from hypercorn.trio.tcp_server import TCPServer

from restms_node.connections import Protocol, Server
from restms_node.frames import Frames
from restms_node.heads import Connection

OWN = [
    (Protocol, H11Protocol),
    (Server, TCPServer),
    (Frames, WSStream),
    (Connection, h11.Connection),
]
REPLACED = {
    "Protocol": {"_check_protocol", "_create_stream", "_send_error_response"},
    "Server": {"run", "protocol_send", "_read_data"},
    "Frames": {"handle", "_handle_events", "_send_error_response"},
    "Connection": {"next_event", "they_are_waiting_for_100_continue"},
}
NAMES = {
    TCPServer.run: "ProtocolWrapper TaskGroup _idle_timeout _read_data idle_task protocol_send",
    TCPServer.protocol_send: "Updated idle_task send_lock send_all",
    TCPServer._idle_timeout: "terminated keep_alive_timeout _initiate_server_close",
    H11Protocol._create_stream: "H11WSConnection HTTPStream WSStream connection_state stream_send",
    H11Protocol._handle_events: "they_are_waiting_for_100_continue _check_protocol _create_stream",
    H11Protocol._maybe_recycle: "_close_stream Closed start_next_cycle terminated",
    WSStream.handle: "_handle_events app_put closed handshake",
    WSStream._handle_events: "_send_wsproto_event app_put buffer connection",
}


@pytest.mark.parametrize(("own", "theirs"), OWN, ids=lambda each: each.__module__)
def test_what_is_replaced_is_there_and_takes_the_same(own: type, theirs: type) -> None:
    for name in REPLACED[own.__name__]:
        assert name in vars(own)
        was, now = getattr(theirs, name), getattr(own, name)
        if callable(was):
            assert list(inspect.signature(was).parameters) == list(
                inspect.signature(now).parameters
            )


@pytest.mark.parametrize("function", NAMES, ids=lambda each: each.__qualname__)
def test_what_is_replaced_or_relied_on_speaks_of_the_same_things(function: object) -> None:
    code = inspect.unwrap(function).__code__  # type: ignore[arg-type]
    used = {*code.co_names, *code.co_freevars}
    assert {name for name in NAMES[function].split() if name not in used} == set()  # type: ignore[index]
