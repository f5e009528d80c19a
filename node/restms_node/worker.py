"""A worker: one of several processes that workers.py starts. It is no command for people.

python -m restms_node.worker LISTENER CHANNEL NUMBER    # two file descriptors; which, from 1
"""

import os
import signal
import socket
import sys
from functools import partial

import trio

from restms_cluster.errors import StartError, first_error
from restms_node import errand, logs
from restms_node.command import FAILED, until_told
from restms_node.config import Settings
from restms_node.drain import Drain, at_signal, tell
from restms_node.metrics_workers import Channel
from restms_node.server import serve_on
from restms_node.workers import DRAINED, READY

STDIN, STDOUT = 0, 1


def main() -> int:
    """Serve as standard input tells, for as long as it is open."""
    told = errand.read(sys.stdin.buffer)
    sys.path[:] = told["path"]
    listener, channel = (socket.socket(fileno=int(number)) for number in sys.argv[1:3])
    status = 0
    try:
        settings = errand.settings_of(told)
        logs.set_up(settings.log_format, settings.log_level, int(sys.argv[3]))
        trio.run(until_told, partial(_serve, settings, listener, channel))
    except* StartError as group:
        os.write(STDOUT, f"{first_error(group)}\n".encode())
        status = FAILED
    return status


async def _serve(settings: Settings, listener: socket.socket, end: socket.socket) -> None:
    drain = Drain()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_end_with_parent)
        await nursery.start(at_signal, drain)
        nursery.start_soon(tell, drain, lambda: os.write(STDOUT, DRAINED))
        with listener, end:
            await serve_on(
                settings,
                listener,
                lambda _: os.write(STDOUT, READY),
                drain,
                channel=Channel(end),
            )
        nursery.cancel_scope.cancel()


async def _end_with_parent() -> None:
    await trio.lowlevel.wait_readable(STDIN)  # nothing more comes but its end
    signal.raise_signal(signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main())
