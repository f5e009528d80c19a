"""That a node is to drain, while it stays up: asked for by whoever runs it, done by what serves."""

import signal
from collections.abc import Callable

import trio


class Drain:
    """A drain that is asked for before the node's end. It begins and ends once."""

    def __init__(self) -> None:
        self._begun = trio.Event()
        self._ended = trio.Event()

    @property
    def begun(self) -> bool:
        """Whether it was asked for."""
        return self._begun.is_set()

    def begin(self) -> None:
        """Ask for it."""
        self._begun.set()

    def end(self) -> None:
        """Say that no wait and no stream is left."""
        self._ended.set()

    async def until_begun(self) -> None:
        """Wait until it is asked for."""
        await self._begun.wait()

    async def until_ended(self) -> None:
        """Wait until no wait and no stream is left."""
        await self._ended.wait()


async def at_signal(
    drain: Drain, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Begin the drain at a SIGUSR2. From when this has started, the signal ends no process."""
    with trio.open_signal_receiver(signal.SIGUSR2) as signals:
        task_status.started()
        async for _ in signals:
            drain.begin()


async def tell(drain: Drain, done: Callable[[], object]) -> None:
    """Call a function when the drain has ended."""
    await drain.until_ended()
    done()
