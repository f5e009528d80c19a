"""AMQP 0-9-1 for benchmarks: a raw socket, frames packed ahead, and answers only looked through.

pamqp packs; a whole client would be what is measured. Queues are durable, messages persistent,
and every publish is confirmed.
"""

import socket
import struct
from collections.abc import Sequence
from functools import cache

from pamqp import body, commands, frame, header

from tests.benchmarks.wire import TIMEOUT_SECONDS, AnswerError

METHOD = 1
HEAD = struct.Struct(">BHIHH")  # of a method's frame: type, channel, size, class and method
TAG = struct.Struct(">Q")
SIZE = struct.Struct(">I")
BASIC, DELIVER, GET_OK, ACK = 60, 60, 71, 80
CONSUME_OK = 21
COUNTED = struct.Struct(">QQ")  # what the functions below return: how many, and the last tag
USER = b"\0guest\0guest"


def connect(port: int) -> socket.socket:
    """Return a connection whose channel 1 is open."""
    link = socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS)
    _ask(link, header.ProtocolHeader().marshal(), "Connection.Start")
    start = commands.Connection.StartOk({}, "PLAIN", USER.decode(), "en_US")
    _ask(link, frame.marshal(start, 0), "Connection.Tune")
    tuned = frame.marshal(commands.Connection.TuneOk(2047, 131072, 0), 0)
    _ask(link, tuned + frame.marshal(commands.Connection.Open("/"), 0), "Connection.OpenOk")
    _ask(link, frame.marshal(commands.Channel.Open(), 1), "Channel.OpenOk")
    return link


def confirmed(link: socket.socket) -> socket.socket:
    """Have every publish on the connection confirmed."""
    _ask(link, frame.marshal(commands.Confirm.Select(), 1), "Confirm.SelectOk")
    return link


def consuming(link: socket.socket, queue: str, ahead: int) -> socket.socket:
    """Have messages come, so many that are not acknowledged at a time. They may come at once."""
    _ask(link, frame.marshal(commands.Basic.Qos(0, ahead, False), 1), "Basic.QosOk")
    link.sendall(frame.marshal(commands.Basic.Consume(0, queue, "", False, False), 1))
    return link


def make_queue(link: socket.socket, queue: str) -> None:
    declare = commands.Queue.Declare(0, queue, durable=True)
    _ask(link, frame.marshal(declare, 1), "Queue.DeclareOk")


def delete_queue(link: socket.socket, queue: str) -> None:
    _ask(link, frame.marshal(commands.Queue.Delete(0, queue), 1), "Queue.DeleteOk")


@cache
def publishing(queue: str, text: str, count: int = 1) -> bytes:
    """What publishes persistent messages."""
    properties = commands.Basic.Properties(content_type="text/plain", delivery_mode=2)
    parts: Sequence[frame.FrameTypes] = (
        commands.Basic.Publish(0, "", queue),
        header.ContentHeader(body_size=len(text), properties=properties),
        body.ContentBody(text.encode()),
    )
    return b"".join(frame.marshal(part, 1) for part in parts) * count


def getting(queue: str) -> bytes:
    return frame.marshal(commands.Basic.Get(0, queue, False), 1)


def acknowledging(tag: int, *, older: bool) -> bytes:
    """Acknowledge a message, or it and all older ones."""
    return frame.marshal(commands.Basic.Ack(tag, older), 1)


def take_confirm(read: bytearray) -> bytes | None:
    """Take a confirmation off what was read: its tag, and whether it is for older ones too."""
    if len(read) < 7:
        return None
    end = 7 + SIZE.unpack_from(read, 3)[0] + 1
    if len(read) < end:
        return None
    kind, _, _, number, method = HEAD.unpack_from(read)
    if (kind, number, method) != (METHOD, BASIC, ACK):
        raise AnswerError(f"RabbitMQ: class {number}, method {method} where Basic.Ack should come")
    answer = bytes(read[11:20])
    del read[:end]
    return answer


def tag_of(confirm: bytes) -> tuple[int, bool]:
    return TAG.unpack_from(confirm)[0], confirm[8] & 1 == 1


def take_messages(read: bytearray) -> bytes | None:
    """Take all whole messages off what was read: how many there are, and the last one's tag.

    A message is its Deliver or GetOk, a header and one body, which come together.
    """
    at = count = tag = whole = 0
    size = len(read)
    while size - at >= 8:
        end = at + 7 + SIZE.unpack_from(read, at + 3)[0] + 1
        if size < end:
            break
        if read[at] == METHOD:
            _, _, _, number, method = HEAD.unpack_from(read, at)
            if number != BASIC or method not in {DELIVER, GET_OK, CONSUME_OK}:
                raise AnswerError(f"RabbitMQ: class {number}, method {method} instead of a message")
            if method == CONSUME_OK:
                whole = end
            else:
                found = at + 11
                if method == DELIVER:  # behind the consumer's tag
                    found += 1 + read[found]
                coming = TAG.unpack_from(read, found)[0]
        elif read[at] == 3:
            count, tag, whole = count + 1, coming, end
        at = end
    if whole:
        del read[:whole]
    return COUNTED.pack(count, tag) if count else None


def _ask(link: socket.socket, raw: bytes, expected: str) -> None:
    link.sendall(raw)
    read = b""
    while True:
        size, _, found = frame.unmarshal(read) if len(read) >= 8 else (0, 0, None)
        if found is not None:
            break
        some = link.recv(65536)
        if not some:
            raise AnswerError(f"RabbitMQ closed the connection instead of {expected}")
        read += some
    if found.name != expected or size != len(read):
        raise AnswerError(f"RabbitMQ: {found.name} instead of {expected}")
