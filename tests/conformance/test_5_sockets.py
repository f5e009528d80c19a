"""Section 5: a WebSocket on a pipe: messages out, acknowledgements in."""

import json

import cbor2
import pytest

from tests.conformance.client import Client, expect, unique, until
from tests.conformance.conftest import ADDRESS, ORIGIN
from tests.conformance.documents import binary, data_of, message, numbered, staged, text
from tests.conformance.websocket import CBOR, JSON, SUBPROTOCOLS, RefusedError, WebSocket

pytestmark = pytest.mark.ours

GOING_AWAY, UNSUPPORTED, BAD_DATA, TOO_LARGE, GONE = 1001, 1003, 1007, 1009, 4404
LARGE = b"x" * 200_000


@pytest.fixture(params=SUBPROTOCOLS)
def subprotocol(request: pytest.FixtureRequest) -> str:
    """Each subprotocol."""
    return request.param


def refused(client: Client, uri: str, *subprotocols: str, **headers: str) -> RefusedError:
    """Return why no WebSocket is opened."""
    named = tuple(headers.items())
    with (
        pytest.raises(RefusedError) as refusal,
        WebSocket(client, uri, *subprotocols, headers=named),
    ):
        pass
    return refusal.value


def test_messages_come_out(broker: Client, feed: str, pipe: str, subprotocol: str) -> None:
    """Section 5: a WebSocket has the messages that are there, then each as it comes."""
    broker.publish(feed, *numbered(3, address=ADDRESS))
    with WebSocket(broker.on(0), pipe, subprotocol) as socket:
        assert socket.subprotocol == subprotocol
        assert socket.ids(3) == ["1", "2", "3"]
        broker.on(1).publish(feed, message(ADDRESS, message_id="4"))
        assert socket.ids() == ["4"]


def test_acknowledgements_go_in(broker: Client, feed: str, pipe: str, subprotocol: str) -> None:
    """Section 5: an acknowledgement deletes the message and all older ones, and has no answer."""
    broker.publish(feed, *numbered(3, address=ADDRESS))
    with WebSocket(broker, pipe, subprotocol) as socket:
        hrefs = [socket.message()["href"] for _ in range(3)]
        socket.acknowledge(hrefs[1])
        until(lambda: broker.ids(pipe) == ["3"])
        broker.publish(feed, message(ADDRESS, message_id="4"))
        assert socket.said()["message"]["message_id"] == "4"
    with WebSocket(broker, pipe, subprotocol) as socket:
        assert socket.ids(2) == ["3", "4"]


def test_message_is_the_whole_message(
    broker: Client, feed: str, pipe: str, subprotocol: str
) -> None:
    """Section 5: a message in a frame is as in a document, and has its URI."""
    contents = (text("two\nlines \u00e9"), binary(bytes(range(256))))
    broker.publish(feed, message(ADDRESS, *contents, reply_to="me", header=[("a", "1")]))
    broker.publish(feed, message(ADDRESS, staged(broker.stage(feed, LARGE, "image/png"))))
    with WebSocket(broker, pipe, subprotocol) as socket:
        first, second = socket.message(), socket.message()
    assert [data_of(content) for content in first["content"]] == [
        data_of(content) for content in contents
    ]
    assert first["header"] == [{"name": "a", "value": "1"}]
    assert first["reply_to"] == "me"
    assert broker.get(second["content"][0]["href"]).content == LARGE


def test_client_may_choose_among_subprotocols(broker: Client, pipe: str) -> None:
    """Section 5: the first subprotocol that the server knows is spoken."""
    with WebSocket(broker, pipe, "mqtt", CBOR, JSON) as socket:
        assert socket.subprotocol == CBOR


def test_window_bounds_what_is_not_acknowledged(
    broker: Client, feed: str, pipe: str, subprotocol: str
) -> None:
    """Section 5: beyond `window` messages, the server waits for acknowledgements."""
    broker.publish(feed, *numbered(10, address=ADDRESS))
    with WebSocket(broker, f"{pipe}?window=3", subprotocol) as socket:
        first = [socket.message() for _ in range(3)]
        socket.acknowledge("/restms/feed/default")  # its answer comes after what was sent before
        assert "error" in socket.said()
        socket.acknowledge(first[1]["href"])
        assert socket.ids(2) == ["4", "5"]
        socket.acknowledge("/restms/feed/default")
        assert "error" in socket.said()
        broker.acknowledge(f"{pipe}-5")  # by HTTP it counts as well
        assert socket.ids(3) == ["6", "7", "8"]


@pytest.mark.parametrize(
    "href", ["", "7", "{pipe}", "{other}-1", "/restms/feed/default", "http://["]
)
def test_what_cannot_be_acknowledged_is_told(
    broker: Client, feed: str, pipe: str, subprotocol: str, href: str
) -> None:
    """Section 5: an acknowledgement of something else is answered by an error; all goes on."""
    broker.publish(feed, message(ADDRESS, message_id="1"))
    with WebSocket(broker, pipe, subprotocol) as socket:
        socket.message()
        socket.acknowledge(href.format(pipe=pipe, other=broker.create_pipe()))
        error = socket.said()["error"]
        assert (error["status"], error["word"]) == (400, "bad_request")
        assert error["text"].endswith(".")
        broker.publish(feed, message(ADDRESS, message_id="2"))
        assert socket.ids() == ["2"]
    assert broker.ids(pipe) == ["1", "2"]


@pytest.mark.parametrize(
    "said",
    [
        *([], "x", 7, None, {"acknowledge": 7}, {"acknowledge": None}, {"message": {}}),
        {"acknowledge": "x", "more": 1},
    ],
    ids=str,
)
def test_what_is_no_command_closes(
    broker: Client, pipe: str, subprotocol: str, said: object
) -> None:
    """Section 5: a frame that is not understood ends the connection: 1007, with a reason."""

    with WebSocket(broker, pipe, subprotocol) as socket:
        socket.send(json.dumps(said) if subprotocol == JSON else cbor2.dumps(said))
        closed = socket.closed()
    assert (closed.code, closed.reason[-1]) == (BAD_DATA, ".")


@pytest.mark.parametrize("frame", ["", "{", '{"acknowledge": NaN}', '{"a":1,"a":1}', "[" * 5000])
def test_what_is_not_json_closes(broker: Client, pipe: str, frame: str) -> None:
    """Section 5: frames of the subprotocol `restms` are JSON."""
    with WebSocket(broker, pipe, JSON) as socket:
        socket.send(frame)
        assert socket.closed().code == BAD_DATA


@pytest.mark.parametrize("frame", [b"\xff", b"\xa1", b"\xa0\xa0", b"\xc1\x00", b"\x81" * 5000])
def test_what_is_not_cbor_closes(broker: Client, pipe: str, frame: bytes) -> None:
    """Section 5: frames of the subprotocol `restms.cbor` are CBOR, without tags."""
    with WebSocket(broker, pipe, CBOR) as socket:
        socket.send(frame)
        assert socket.closed().code == BAD_DATA


@pytest.mark.parametrize(("subprotocol", "frame"), [(JSON, b"{}"), (CBOR, "{}"), (JSON, b"")])
def test_frames_of_the_other_kind_close(
    broker: Client, pipe: str, subprotocol: str, frame: str | bytes
) -> None:
    """Section 5: JSON travels in text frames and CBOR in binary ones: 1003 otherwise."""
    with WebSocket(broker, pipe, subprotocol) as socket:
        socket.send(frame)
        assert socket.closed().code == UNSUPPORTED


def test_frame_that_is_too_large_closes(broker: Client, pipe: str) -> None:
    """Section 5: a client's frames are bounded: 1009."""
    with WebSocket(broker, pipe, JSON) as socket:
        socket.send('{"acknowledge": "' + "x" * 100_000 + '"}')
        assert socket.closed().code == TOO_LARGE


def test_bytes_that_are_no_frame_cut(broker: Client, pipe: str) -> None:
    """Section 5: what is no WebSocket frame ends the connection."""
    with WebSocket(broker, pipe, JSON) as socket:
        socket.send_bytes(b"GET / HTTP/1.1\r\n\r\n")
        assert socket.closed()


def test_silent_socket_gives_a_sign(small: Client, subprotocol: str) -> None:
    """Section 5: where there is no message for some seconds, the server sends an empty object."""
    with WebSocket(small, small.create_pipe(), subprotocol) as socket:
        assert [socket.frame() for _ in range(3)] == [{}, {}, {}]
        socket.say()  # so may the client
        assert socket.frame() == {}


def test_socket_closes_with_its_pipe(broker: Client, pipe: str, subprotocol: str) -> None:
    """Section 5: when the pipe is deleted, the WebSocket is closed: 4404."""
    with WebSocket(broker.on(0), pipe, subprotocol) as socket:
        broker.on(1).delete(pipe)
        closed = socket.closed()
    assert (closed.code, closed.reason) == (GONE, "The pipe was deleted.")


def test_socket_with_a_full_window_closes_with_its_pipe(
    broker: Client, feed: str, pipe: str
) -> None:
    """Section 5: also while the server waits for acknowledgements."""
    broker.publish(feed, *numbered(2, address=ADDRESS))
    with WebSocket(broker, f"{pipe}?window=1", JSON) as socket:
        assert socket.ids() == ["1"]
        broker.delete(pipe)
        assert socket.closed().code == GONE


@pytest.mark.parametrize("offered", [(), ("mqtt",), ("RESTMS",)])
def test_without_its_subprotocol_it_is_refused(
    broker: Client, pipe: str, offered: tuple[str, ...]
) -> None:
    """Section 5: a WebSocket without a subprotocol that the server knows is 400."""
    refusal = refused(broker, pipe, *offered)
    assert refusal.status == 400
    assert "restms" in refusal.text


def test_other_resources_have_no_socket(broker: Client, feed: str, pipe: str) -> None:
    """Section 5: pipes have WebSockets, other resources have none: 403; what is not there, 404."""
    for uri in (feed, f"{pipe}-1", "/restms/domain/default", broker.join(pipe, feed, "x")):
        assert refused(broker, uri, JSON).status == 403
    broker.delete(pipe)
    for uri in (pipe, "/", "/restms/resource/x", "/restms/resource/p" + "0" * 32):
        assert refused(broker, uri, JSON).status == 404


@pytest.mark.parametrize("query", ["window=0", "window=x", "messages=1", "window=1&window=1"])
def test_query_that_is_not_understood_is_refused(broker: Client, pipe: str, query: str) -> None:
    """Section 5: what the query may not have is 400."""
    assert refused(broker, f"{pipe}?{query}", JSON).status == 400


def test_pages_of_other_origins_are_refused(broker: Client, small: Client, pipe: str) -> None:
    """Section 1: a page of another origin opens no WebSocket, unless its origin is configured."""
    assert refused(broker, pipe, JSON, origin="http://evil.example").status == 403
    own = broker.on(0)
    for client, origin in ((own, own.urls[0]), (small, ORIGIN)):
        with WebSocket(client, pipe, JSON, headers=(("origin", origin),)) as socket:
            assert socket.subprotocol == JSON


def test_compression_is_declined(broker: Client, pipe: str) -> None:
    """Section 5: a client that offers to compress is heard without."""
    with WebSocket(broker, pipe, JSON) as socket:
        assert not socket.compressed


def test_ondemand_pipe_takes_one_by_one(broker: Client, subprotocol: str) -> None:
    """Section 7: a WebSocket takes a message for an ondemand pipe; acknowledged, the next."""
    jobs = broker.create_feed(unique("jobs"), "rotator")
    pipe = broker.create_joined(jobs, type="ondemand")
    broker.post_messages(jobs, *numbered(2))
    with WebSocket(broker, pipe, subprotocol) as socket:
        first = socket.message()
        assert (first["message_id"], len(broker.messages(pipe))) == ("1", 1)
        socket.acknowledge(first["href"])
        assert socket.ids() == ["2"]


def test_closed_socket_is_noticed(broker: Client) -> None:
    """Section 5: who has gone is not sent to: an ondemand pipe takes nothing more for it."""
    jobs = broker.create_feed(unique("jobs"), "rotator")
    gone, stays = (broker.create_joined(jobs, type="ondemand") for _ in range(2))
    with WebSocket(broker, gone, JSON):
        pass
    with WebSocket(broker, stays, JSON) as socket:
        broker.post_messages(jobs, message(message_id="1"))
        assert socket.ids() == ["1"]
    assert expect(broker.get(gone), 200)
