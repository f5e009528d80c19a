"""A worker: one of several processes that workers.py starts. It is no command for people.

python -m restms_node.worker LISTENER CHANNEL    # file descriptors
"""

import os
import pickle
import signal
import socket
import sys
from functools import partial

import trio

from restms_cluster.errors import StartError
from restms_node.command import FAILED, first_error, set_up_logging, until_told
from restms_node.config import Settings
from restms_node.metrics_workers import Channel
from restms_node.server import serve_on
from restms_node.workers import READY

STDIN, STDOUT = 0, 1


def main() -> int:
    """Serve with the settings that standard input gives, for as long as it is open."""
    sys.path[:], settings = pickle.load(sys.stdin.buffer)  # noqa: S301, the parent wrote it
    listener, channel = (socket.socket(fileno=int(number)) for number in sys.argv[1:3])
    set_up_logging(settings.log_level)
    status = 0
    try:
        trio.run(until_told, partial(_serve, settings, listener, channel))
    except* StartError as group:
        os.write(STDOUT, f"{first_error(group)}\n".encode())
        status = FAILED
    return status


async def _serve(settings: Settings, listener: socket.socket, end: socket.socket) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_end_with_parent)
        with listener, end:
            await serve_on(
                settings, listener, lambda _: os.write(STDOUT, READY), channel=Channel(end)
            )
        nursery.cancel_scope.cancel()


async def _end_with_parent() -> None:
    await trio.lowlevel.wait_readable(STDIN)  # nothing more comes but its end
    signal.raise_signal(signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main())
