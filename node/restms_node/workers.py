"""Several workers on one address: processes of the node, started, watched and ended together.

Each has a listener of its own (SO_REUSEPORT), among which the kernel spreads
connections; that of a worker that dies goes with it, and the others have them
all. The parent serves nothing: it keeps the address, runs the embedded server
if there is one, and starts again what dies. A worker's standard input is open
as long as the parent lives; its standard output says how its start went, and
that it has drained.
"""

import logging
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import trio

from restms_cluster.embedded import EmbeddedServer
from restms_cluster.errors import StartError, first_error
from restms_cluster.topology import parse_topology
from restms_node import errand, metrics_server, pid_file, server
from restms_node.config import Settings
from restms_node.drain import Drain
from restms_node.metrics import Page
from restms_node.metrics_workers import Hub

READY = b"ready\n"
DRAINED = b"drained\n"
START_SECONDS = 60.0
STEADY_SECONDS = 10.0  # a worker that ran for so long is started again at once
LEAST_PAUSE_SECONDS, MOST_PAUSE_SECONDS = 0.2, 10.0
SPARE_SECONDS = 5.0  # beyond what a worker's drain may take
LONGEST_REASON = 4096

_log = logging.getLogger("restms.workers")


async def serve(settings: Settings, flags: Mapping[str, str]) -> None:
    """Serve by `settings.workers` processes until a signal ends them.

    `flags` are the options of the command line, for workers of another version. Raises
    StartError, perhaps in a group, when the first ones cannot start.
    """
    with (
        server.bound(settings) as place,
        metrics_server.bound(settings) as scraped,
        pid_file.written(settings.pid_file),
    ):
        # Only now: nobody else can have had the address, but the workers can have it too.
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        async with trio.open_nursery() as nursery:
            if settings.redis:
                data = str(parse_topology(settings.redis))
            else:
                url = await nursery.start(EmbeddedServer(settings.data_dir, settings.levels).run)
                data = str(settings.data_dir)
                settings = replace(settings, redis=url)
            hub = Hub(nursery)
            if scraped is not None:
                config = server.of_hypercorn(settings)
                page = Page(hub.gathered)
                nursery.start_soon(metrics_server.serve, page, config, scraped)
            async with server.drain_when_asked() as drain:
                await _supervise(settings, place, data, drain, errand.made(settings, flags), hub)
            nursery.cancel_scope.cancel()


async def _supervise(
    settings: Settings, place: socket.socket, data: str, drain: Drain, told: bytes, hub: Hub
) -> None:
    workers = [
        _Worker(settings, place, told, hub, number + 1) for number in range(settings.workers)
    ]
    async with trio.open_nursery() as running:
        async with trio.open_nursery() as starting:
            for worker in workers:
                starting.start_soon(running.start, worker.run)
        await running.start(_pass_signals_on, workers, place, running.cancel_scope)
        await running.start(_renew_when_told, workers, running, drain)
        running.start_soon(_drain_when_told, workers, drain)
        server.announce(place, data)
        while left := [worker for worker in workers if not worker.ended.is_set()]:
            await left[0].ended.wait()
        running.cancel_scope.cancel()


async def _pass_signals_on(
    workers: list["_Worker"],
    place: socket.socket,
    everything: trio.CancelScope,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Let all workers drain at a signal; at a second one, or when they do not end, end them."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        task_status.started()
        async for number in signals:
            if all(worker.told for worker in workers):
                everything.cancel()
            place.close()
            for worker in workers:
                worker.tell(number)


async def _renew_when_told(
    workers: list["_Worker"],
    running: trio.Nursery,
    drain: Drain,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Put new workers in the place of all, one after the other, at each SIGUSR1."""
    with trio.open_signal_receiver(signal.SIGUSR1) as signals:
        task_status.started()
        async for _ in signals:
            for number in range(len(workers)):
                if not await _renewed(workers, number, running, drain):
                    break
                _log.info("worker %d of %d was renewed", number + 1, len(workers))


async def _renewed(
    workers: list["_Worker"], number: int, running: trio.Nursery, drain: Drain
) -> bool:
    """Have a new worker ready, then let the old one drain and end; tell whether that was done.

    Where a new one cannot start (of a version that was installed since, say), the old goes on.
    """
    old, started = workers[number], False
    new = old.successor()
    if drain.begun:
        new.drain()
    try:
        await running.start(new.run)
        started = True
    except* StartError as group:
        _log.error("no worker is renewed: %s", first_error(group))
    if started:
        workers[number] = new
        if old.told:
            new.tell(signal.SIGTERM)
        elif drain.begun:
            new.drain()
        old.tell(signal.SIGTERM)
        await old.ended.wait()
    return started


async def _drain_when_told(workers: list["_Worker"], drain: Drain) -> None:
    """Have all workers drain, and those that will take their places, when it is asked for."""
    await drain.until_begun()
    for worker in workers:
        worker.drain()
    for worker in workers:
        await worker.drained.wait()
    drain.end()


class _Worker:
    """One worker, and those that take its place when it dies."""

    def __init__(
        self, settings: Settings, place: socket.socket, told: bytes, hub: Hub, number: int
    ) -> None:
        self._settings = settings
        self._errand = told
        self._hub = hub
        self._place = place
        self._number = number
        self._process: trio.Process | None = None
        self._told = trio.Event()
        self._told_by = 0
        self._drains = False
        self._up: trio.Process | None = None
        self.drained = trio.Event()
        self.ended = trio.Event()

    @property
    def told(self) -> bool:
        """Whether it was told to end."""
        return self._told.is_set()

    def tell(self, number: int) -> None:
        """Pass a signal to end on.

        A second one is of another kind than the first: of two alike the system makes one, where
        the worker has not taken the first yet.
        """
        if number == self._told_by:
            number = signal.SIGINT if number == signal.SIGTERM else signal.SIGTERM
        self._told_by = number
        self._told.set()
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def drain(self) -> None:
        """Have the worker drain and stay; `drained` tells when it has."""
        self._drains = True
        if self._up is not None and self._up.poll() is None:
            # It takes the signal, since it has said that it is ready.
            self._up.send_signal(signal.SIGUSR2)

    def successor(self) -> "_Worker":
        """Return a worker that can take the place of this one."""
        return _Worker(self._settings, self._place, self._errand, self._hub, self._number)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep a worker running until it is told to end; report when the first one is ready.

        Raises StartError where the first one cannot start.
        """
        pause, started = LEAST_PAUSE_SECONDS, False
        while not self.told:
            since = trio.current_time()
            try:
                async with self._running() as process:
                    if not started:
                        task_status.started()
                        started = True
                    if self._drains:
                        self.drain()
                    await self._hear(process)
                    reason = f"it ended with status {await process.wait()}"
            except StartError as error:
                if not started:
                    raise
                reason = str(error)
            if self.told:
                break
            if trio.current_time() - since > STEADY_SECONDS:
                pause = LEAST_PAUSE_SECONDS
            _log.error("worker %d is started again in %.1f s: %s", self._number, pause, reason)
            with trio.move_on_after(pause):
                await self._told.wait()
            pause = min(2 * pause, MOST_PAUSE_SECONDS)
        self.ended.set()

    @asynccontextmanager
    async def _running(self) -> AsyncGenerator[trio.Process]:
        """Run a worker: entered when it is ready, left when it has ended."""
        process = self._process = await self._spawn()
        try:
            if self.told:  # while it was spawned
                process.terminate()
            await self._until_ready(process)
            self._up = process
            yield process
        finally:
            self._up = None
            await _stop(process, server.longest_drain(self._settings) + SPARE_SECONDS)

    async def _spawn(self) -> trio.Process:
        ours, theirs = socket.socketpair()
        with theirs, socket.socket(self._place.family, self._place.type) as listener:
            self._hub.attend(ours)
            try:
                for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
                    listener.setsockopt(socket.SOL_SOCKET, option, 1)
                listener.bind(self._place.getsockname())
                passed = (listener.fileno(), theirs.fileno())
                arguments = map(str, (*passed, self._number))
                return await trio.lowlevel.open_process(
                    # -P: what lies in the working directory is none of the worker's modules.
                    [sys.executable, "-P", "-m", "restms_node.worker", *arguments],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    pass_fds=passed,
                    # Ctrl-C in a terminal is for the parent, which passes it on.
                    start_new_session=True,
                )
            except OSError as error:
                raise StartError(f"A worker cannot be started: {error.strerror}.") from error

    async def _until_ready(self, process: trio.Process) -> None:
        assert process.stdin is not None  # noqa: S101, asked for when it was opened
        assert process.stdout is not None  # noqa: S101
        said = b""
        with trio.move_on_after(START_SECONDS) as patience:
            with suppress(trio.BrokenResourceError):  # it has ended, and perhaps told why
                await process.stdin.send_all(self._errand)
            async for some in process.stdout:
                said += some
                if said == READY:
                    return
                if len(said) > LONGEST_REASON:
                    break
        if patience.cancelled_caught:
            raise StartError("A worker does not come to listen.")
        raise StartError(said.decode(errors="replace").strip() or "A worker ended at its start.")

    async def _hear(self, process: trio.Process) -> None:
        """Listen to a worker until it has no more to say, which is its end."""
        assert process.stdout is not None  # noqa: S101, asked for when it was opened
        said = b""
        async for some in process.stdout:
            said = (said + some)[-len(DRAINED) :]
            if said == DRAINED:
                self.drained.set()


async def _stop(process: trio.Process, seconds: float) -> None:
    """Let a worker drain and end, and kill it where it does not."""
    with trio.CancelScope(shield=True):
        if process.poll() is None:
            process.terminate()
        with trio.move_on_after(seconds):
            await process.wait()
        if process.returncode is None:
            _log.error("a worker does not end; it is killed")
            process.kill()
            await process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                await pipe.aclose()
