"""Lines of a log that are written by a thread, for whoever reads them may be slow."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging.handlers import QueueHandler, QueueListener
from queue import SimpleQueue
from typing import Any

MOST_WAITING = 10_000
"""So many lines wait to be written, and those after them are left out: the reader is stuck."""


@contextmanager
def written(logger: logging.Logger, *handlers: logging.Handler) -> Iterator[Callable[[], int]]:
    """Write what a logger is told, for the time of a block, and nowhere else; all of it by the end.

    Yields what tells how many lines are still to go.
    """
    lines: SimpleQueue[Any] = SimpleQueue()
    logger.setLevel(logging.INFO)  # it is no diagnostics, which --log-level is about
    logger.propagate = False
    queueing = QueueHandler(lines)
    logger.addHandler(queueing)
    listener = QueueListener(lines, *handlers)
    listener.start()
    try:
        yield lines.qsize
    finally:
        logger.removeHandler(queueing)
        listener.stop()
