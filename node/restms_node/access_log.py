"""The access log: one line for each request, when it has been answered, in the form of the log.

What is no request at all, for it is not HTTP, has no line. A thread writes them.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from restms_node.front import shortened
from restms_node.log_thread import MOST_WAITING, written
from restms_node.logs import FIELDS

LOGGER = "restms.requests"
LONGEST = 256  # characters of what clients sent

now = time.perf_counter


class AccessLog:
    """Writes the lines of one process to a logger; `waiting` tells how many are still to go."""

    def __init__(self, logger: logging.Logger, waiting: Callable[[], int] = lambda: 0) -> None:
        self._logger = logger
        self._waiting = waiting
        self._left_out = 0

    def answered(
        self,
        name: str,
        method: str,
        path: str,
        status: int | None,
        since: float,
        *,
        principal: str = "",
        address: str = "",
    ) -> None:
        """Write of the request called `name`, which came at `since` as `now` tells it.

        No status is that of a client who went before there was an answer.
        """
        if self._waiting() >= MOST_WAITING:
            self._left_out += 1
            return
        if self._left_out:
            self._logger.warning("lines of requests that were left out: %d", self._left_out)
            self._left_out = 0
        seconds = now() - since
        method, path = method[:LONGEST], shortened(path)[:LONGEST]
        fields = {
            "request_id": name,
            "method": method,
            "path": path,
            "status": status,
            "seconds": round(seconds, 6),
            "principal": principal[:LONGEST],
            "address": address,
        }
        self._logger.info(
            *("%s %s %s %.6fs %s %s", method, path, status or "-", seconds),
            *(address or "-", principal[:LONGEST] or "-"),
            extra={FIELDS: fields},
        )


@contextmanager
def opened() -> Iterator[AccessLog]:
    """Keep an access log for the time of a block, where the log is."""
    logger = logging.getLogger(LOGGER)
    with written(logger, *logging.getLogger().handlers) as waiting:
        yield AccessLog(logger, waiting)
