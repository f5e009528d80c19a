"""The ceiling: how fast Redis itself can add entries to a stream, called by scripts.

There are two. In the first each entry is a call of the barest script, and calls are
pipelined; in the second a thousand entries are one call. In both the commands are packed
ahead and written to a raw socket, and the answers are only counted, so that the
client costs next to nothing.
"""

import socket
import time
from contextlib import closing
from typing import Any

from restms_cluster.address import Address
from tests.benchmarks.wire import TIMEOUT_SECONDS, AnswerError
from tests.servers import Server

TEXT = "x" * 100
CHUNK = 1000  # entries that are sent at once
AHEAD = 3  # chunks that are under way
KEY = "bench:ceiling"
REWRITING = ("aof_rewrite_in_progress", "aof_rewrite_scheduled")
ONE = "#!lua\nredis.call('XADD', KEYS[1], '*', 'm', ARGV[1])\nreturn 1"
MANY = "#!lua\nfor i = 1, #ARGV do redis.call('XADD', KEYS[1], '*', 'm', ARGV[i]) end\nreturn 1"


def pack(*words: str) -> bytes:
    """A command as Redis reads it."""
    return f"*{len(words)}\r\n".encode() + b"".join(
        f"${len(word)}\r\n{word}\r\n".encode() for word in words
    )


class Ceiling:
    """Both ceilings of one server."""

    def __init__(self, server: Server) -> None:
        self._server = server
        with server.client() as client:
            one, many = (str(client.script_load(text)) for text in (ONE, MANY))
        self._one = pack("EVALSHA", one, "1", KEY, TEXT) * CHUNK
        self._many = pack("EVALSHA", many, "1", KEY, *[TEXT] * CHUNK)

    def each(self, seconds: float) -> float:
        """Entries a second, one in a call."""
        return self._rate(self._one, CHUNK, seconds)

    def thousands(self, seconds: float) -> float:
        """Entries a second, a thousand in a call."""
        return self._rate(self._many, 1, seconds)

    def _rate(self, raw: bytes, answers: int, seconds: float) -> float:
        with closing(socket.socket(socket.AF_UNIX)) as link:
            link.settimeout(TIMEOUT_SECONDS)
            link.connect(Address.parse(self._server.url).path or "")
            began = time.perf_counter()
            end = began + seconds
            for _ in range(AHEAD):
                link.sendall(raw)
            sent, answered = AHEAD, 0
            while answered < sent * answers:
                some = link.recv(1 << 16)
                if not some or b"-" in some:
                    raise AnswerError(f"Redis: {some[:200].decode()}")
                answered += some.count(b"\n")
                while time.perf_counter() < end and answered >= (sent - AHEAD + 1) * answers:
                    link.sendall(raw)
                    sent += 1
            elapsed = time.perf_counter() - began
        self._forget()
        return sent * CHUNK / elapsed

    def _forget(self) -> None:
        """Have Redis forget what it was given, also in its file, which others write on."""
        client: Any
        with self._server.client() as client:
            client.delete(KEY)
            client.bgrewriteaof()
            while any(client.info("persistence")[name] for name in REWRITING):
                time.sleep(0.01)
