"""The directory in which a node's embedded server keeps its data, and who may use it.

    lock            held by the node, so that two never share a directory
    server.lock     held by the node and, inherited, by the server
    socket          the path of the server's socket
    redis.log       what the server has to say
    rested          there from the server's end, if that was in order, to its next start
    appendonlydir/  its data

A node that is killed leaves its server behind. The next one cannot tell that
from the socket (it may not be there yet) nor from a process number (it may be
another process by now), but from `server.lock`: the system frees it when the
last process that has it ends. While it is held, a server still uses the data.
"""

import fcntl
import logging
import os
import tempfile
from collections.abc import Awaitable, Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

import trio

from restms_cluster.errors import StartError

SOCKET_BYTES = 100  # the systems' own bounds are 104 and 108
ANSWER_SECONDS = 1.0
ORPHAN_SECONDS = 60.0  # it may have much to write
ORPHAN_POLL_SECONDS = 0.05

_log = logging.getLogger("restms.embedded")


class DataDirectory:
    """A data directory that this process owns. Made by `owned`."""

    def __init__(self, path: Path, server_lock: int) -> None:
        self.path = path
        self.log = path / "redis.log"
        self.server_lock = server_lock
        self._record = path / "socket"
        self._rested = path / "rested"

    @classmethod
    @contextmanager
    def owned(cls, path: Path) -> Generator["DataDirectory"]:
        """Make the directory if need be and own it for a while.

        Raises StartError where it cannot be used, or another node has it.
        """
        with ExitStack() as stack:
            try:
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
                own = stack.enter_context((path / "lock").open("ab"))
                shared = stack.enter_context((path / "server.lock").open("ab"))
            except OSError as error:
                raise _unusable(path, error) from error
            if not _try_lock(own.fileno()):
                raise StartError(f"The data directory {path} is in use by another restms.")
            yield cls(path, shared.fileno())

    async def end_orphan(self, rest: Callable[[Path], Awaitable[None]]) -> None:
        """Lock out servers of earlier nodes; one that still runs is told to save and end.

        `rest` is done before, with the path of its socket.

        Raises StartError if it does not, in ORPHAN_SECONDS.
        """
        if _try_lock(self.server_lock):
            return
        _log.warning("a node that was killed left its server behind; it is told to end")
        with trio.move_on_after(ORPHAN_SECONDS):
            await rest(self._recorded())
            while not _try_lock(self.server_lock):
                # Asked again and again: it may not listen yet.
                await ask(self._recorded(), b"SHUTDOWN")
                await trio.sleep(ORPHAN_POLL_SECONDS)
            self._remove_orphan_socket()
            return
        raise StartError(f"An earlier server still uses the data in {self.path} and does not end.")

    @contextmanager
    def socket(self) -> Generator[Path]:
        """Choose a path for the server's socket, short enough for one, and record it.

        Raises StartError where that cannot be done.
        """
        with ExitStack() as stack:
            try:
                socket = self.path / "redis.sock"
                if _too_long(socket):
                    private = tempfile.TemporaryDirectory(prefix="restms-")  # mode 0700
                    socket = Path(stack.enter_context(private)) / socket.name
                self._record.write_bytes(os.fsencode(socket))
            except OSError as error:
                raise _unusable(self.path, error) from error
            if _too_long(socket):
                raise StartError(f"The path of the socket {socket} is too long; choose a shorter.")
            yield socket

    def rest(self) -> str:
        """Leave word that the server ends in order; return what tells this word from any other.

        A copy of the directory (a backup) has another file in its place. Raises OSError.
        """
        with self._rested.open("xb") as file:
            os.fsync(file.fileno())
        return self._word()

    def rested(self) -> str:
        """Return what tells the word that was left; nothing where there is none. It is gone then.

        Raises StartError where it cannot be taken away.
        """
        try:
            word = self._word()
            self._rested.unlink()
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise _unusable(self.path, error) from error
        return word

    def _word(self) -> str:
        found = self._rested.stat()
        return f"{found.st_ino}-{found.st_ctime_ns}"

    def open_log(self) -> IO[bytes]:
        """Open the server's log for writing at its end. Raises StartError."""
        try:
            return self.log.open("ab")
        except OSError as error:
            raise _unusable(self.path, error) from error

    def log_size(self) -> int:
        """Return how many bytes the server has said so far."""
        return self.log.stat().st_size if self.log.exists() else 0

    def complaint(self, since: int) -> str:
        """Return the server's last warning after the first `since` bytes of its log."""
        try:
            lines = self.log.read_bytes()[since:].decode(errors="replace").splitlines()
        except OSError as error:
            return f"its log cannot be read: {error.strerror}."
        # A line is: process:role day month year time level message.
        warnings = [line.partition(" # ")[2] for line in lines if " # " in line]
        said = warnings or lines
        return f"{said[-1].rstrip('.')}." if said else "it says nothing."

    def _recorded(self) -> Path:
        try:
            return Path(os.fsdecode(self._record.read_bytes()))
        except OSError:
            return self.path / "redis.sock"

    def _remove_orphan_socket(self) -> None:
        socket = self._recorded()
        if socket.parent != self.path:
            with suppress(OSError):  # it has mostly done so itself
                socket.unlink(missing_ok=True)
                socket.parent.rmdir()


async def ask(socket: Path, command: bytes) -> bytes:
    """Send a command; return the beginning of the answer, empty when there is none in time."""
    with trio.move_on_after(ANSWER_SECONDS):
        try:
            async with await trio.open_unix_socket(str(socket)) as stream:
                await stream.send_all(command + b"\r\n")
                return bytes(await stream.receive_some())
        except (OSError, trio.BrokenResourceError):
            return b""
    return b""


def _too_long(socket: Path) -> bool:
    return len(os.fsencode(socket)) >= SOCKET_BYTES


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _unusable(path: Path, error: OSError) -> StartError:
    return StartError(f"The data directory {path} cannot be used: {error.strerror}.")
