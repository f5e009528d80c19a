"""The way in for whoever runs the node on the same machine: how `restms drain` asks for it.

A node listens on a Unix socket whose name follows from its process: in Linux's abstract
namespace, so that no file is left behind and no folder must be writable. So whoever asks never
sends a signal to a process that may be another's by now; and the system tells both sides who is
at the other end: the node serves its own user and root, and who asks knows that it is that
process which answers. Names have the process namespace in them, since containers that share
the host's network may all have a process 1.
"""

import logging
import os
import socket
import struct
import sys
import time
from functools import partial
from pathlib import Path

import trio

from restms_cluster.errors import StartError
from restms_node.drain import Drain

ASK = b"drain\n"
BEGUN, ENDED = b"draining\n", b"drained\n"
ASK_SECONDS = 5.0
ROOT = 0
_CREDENTIALS = struct.Struct("3i")  # of struct ucred: process, user, group

_log = logging.getLogger("restms.control")


def possible() -> bool:
    """Tell whether this system has such sockets."""
    return sys.platform == "linux"


async def run(
    drain: Drain, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED
) -> None:
    """Answer those who ask for the drain, for ever; or nobody, where that is not possible."""
    listener = _listener() if possible() else None
    if listener is None:
        task_status.started(None)
        return
    listening = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
    await trio.serve_listeners(partial(_answer, drain), [listening], task_status=task_status)


def ask(process: int, seconds: float) -> None:
    """Have a node drain; return when it has.

    Raises StartError with one sentence where that is no node of ours, or it takes longer.
    """
    if not possible():
        raise StartError("This system has no way to ask; send SIGUSR2, and look at /readyz.")
    ends = time.monotonic() + seconds
    with socket.socket(socket.AF_UNIX) as link:
        try:
            link.settimeout(ASK_SECONDS)
            link.connect(_address(process))
            if not _is_node(link, process):
                raise ConnectionRefusedError
            link.sendall(ASK)
            said = b""
            while said != BEGUN + ENDED:
                link.settimeout(max(ends - time.monotonic(), 0.001))
                some = link.recv(64)
                if not some:
                    raise StartError(f"The process {process} does not drain, or has ended.")
                said += some
        except TimeoutError:
            raise StartError(
                f"The node {process} drains, but has not ended its waits in {seconds:g} seconds."
            ) from None
        except OSError as error:
            raise StartError(_not_there(process)) from error


def _listener() -> socket.socket | None:
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(_address(os.getpid()))
        listener.listen()
    except OSError as error:
        listener.close()
        _log.warning("`restms drain` cannot reach this node: %s.", error.strerror)
        return None
    listener.setblocking(False)  # noqa: FBT003, the standard library's signature
    return listener


async def _answer(drain: Drain, stream: trio.SocketStream) -> None:
    """Serve one who asks, to the end."""
    _, user = _peer(stream.socket)
    if user not in (os.geteuid(), ROOT):
        return
    try:
        if not await _asks(stream):
            return
        _log.info("the node drains: it was asked to")
        drain.begin()
        await stream.send_all(BEGUN)
        await drain.until_ended()
        await stream.send_all(ENDED)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # who asked has gone; the drain goes on


async def _asks(stream: trio.SocketStream) -> bool:
    said = b""
    with trio.move_on_after(ASK_SECONDS):
        while len(said) < len(ASK) and (some := await stream.receive_some(len(ASK))):
            said += some
    return said == ASK


def _is_node(link: socket.socket, process: int) -> bool:
    listens, user = _peer(link)
    return listens == process and (user == os.geteuid() or os.geteuid() == ROOT)


def _not_there(process: int) -> str:
    try:
        os.kill(process, 0)  # this is no signal; it asks whether one could be sent
    except ProcessLookupError:
        return f"There is no process {process}."
    except PermissionError:
        return f"The process {process} is another user's."
    return f"The process {process} is no node of restms that can be told to drain."


def _address(process: int) -> bytes:
    namespace = Path("/proc/self/ns/pid").stat().st_ino
    return f"\0restms/{namespace}/{process}".encode()


def _peer(link: socket.socket | trio.socket.SocketType) -> tuple[int, int]:
    """Return the process and the user at the other end, as the system knows them."""
    found = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process, user, _ = _CREDENTIALS.unpack(found)
    return process, user
