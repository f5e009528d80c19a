"""The audit log: who was refused what, and who changed what. One line of JSON for each.

No line has a secret: of private URIs only the beginning is told. What clients sent
stands in JSON strings, in ASCII and cut short, so nobody can forge a line. A thread
writes them, for a disk may be slow.
"""

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from io import BufferedWriter, FileIO, TextIOWrapper
from logging.handlers import WatchedFileHandler
from pathlib import Path

from restms_cluster.errors import StartError
from restms_node.clients import client_of, is_proxy
from restms_node.exchange import Request
from restms_node.front import shortened
from restms_node.log_thread import MOST_WAITING, written
from restms_node.values import Network

AUDITED = (401, 403, 429)
"""Statuses of answers that are refusals."""

REFUSALS_A_SECOND = 100
"""So many are written; more are counted, and the next line tells how many were left out."""

LONGEST = 256  # characters of what clients sent
LOGGER = "restms.audit"


class Audit:
    """Writes the lines of one process to a logger; `waiting` tells how many are still to go.

    Trusted `proxies` are believed in what they say of a client's address.
    """

    def __init__(
        self,
        logger: logging.Logger,
        waiting: Callable[[], int] = lambda: 0,
        proxies: Sequence[Network] = (),
    ) -> None:
        self._logger = logger
        self._waiting = waiting
        self._proxies = proxies
        self._second = 0
        self._refusals = 0
        self._left_out = 0

    def refused(
        self,
        request: Request,
        request_id: str,
        *,
        status: int,
        reason: str,
        verb: str = "",
        text: str = "",
        uri: str = "",
    ) -> None:
        """Write that a request was refused, and why.

        `verb` is what the rules would have had to allow; `uri` is what was asked about, if that
        is not the request's path.
        """
        now = int(time.time())
        if now != self._second:
            self.tell_left_out()
            self._second, self._refusals = now, 0
        self._refusals += 1
        if self._refusals > REFUSALS_A_SECOND:
            self._left_out += 1
            return
        self._write(
            "refused",
            **self._asked(request, request_id),
            resource=_resource(uri or request.path),
            status=status,
            reason=reason,
            **({"verb": verb} if verb else {}),
            **({"text": text[:LONGEST]} if text else {}),
        )

    def changed(
        self, request: Request, request_id: str, *, event: str, noun: str, uri: str, status: int
    ) -> None:
        """Write that a resource was created, changed or deleted: all of these are written."""
        self._write(
            event,
            **self._asked(request, request_id),
            noun=noun,
            resource=_resource(uri),
            status=status,
        )

    def tell_left_out(self) -> None:
        """Write how many lines were not written, if any."""
        left_out, self._left_out = self._left_out, 0
        if left_out:
            self._write("left_out", lines=left_out)

    def _asked(self, request: Request, request_id: str) -> dict[str, object]:
        principal = request.principal
        client = {}
        if is_proxy(self._proxies, request.peer):
            client["client"] = client_of(self._proxies, request.peer, request.headers)
        return {
            "request_id": request_id,
            "principal": principal.name[:LONGEST],
            "authenticated_by": principal.method,
            "address": request.peer,
            **client,
            "method": request.method[:LONGEST],
        }

    def _write(self, event: str, **said: object) -> None:
        if self._waiting() >= MOST_WAITING:
            self._left_out += 1
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._logger.info("%s", json.dumps({"time": now, "event": event, **said}))


def check(path: Path) -> None:
    """Raise StartError where an audit log can certainly not be written; it is not made yet."""
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise StartError(f"The audit log {path} cannot be written.")


@contextmanager
def opened(path: Path | None, proxies: Sequence[Network] = ()) -> Iterator[Audit]:
    """Keep an audit log for the time of a block: in a file, or else on standard error.

    A file that was moved away is made anew, as log rotation wants it; whoever runs the
    server may read it, and nobody else, where it was not there before. Raises StartError
    where it cannot be written.
    """
    handler: logging.Handler
    try:
        handler = logging.StreamHandler(sys.stderr) if path is None else _PrivateFile(path)
    except OSError as error:
        raise StartError(f"The audit log {path} cannot be written: {error.strerror}.") from error
    logger = logging.getLogger(LOGGER)
    try:
        with written(logger, handler) as waiting:
            audit = Audit(logger, waiting, proxies)
            try:
                yield audit
            finally:
                audit.tell_left_out()
    finally:
        handler.close()


class _PrivateFile(WatchedFileHandler):
    def _open(self) -> TextIOWrapper:
        def opener(path: str, flags: int) -> int:
            return os.open(path, flags, 0o600)

        file = BufferedWriter(FileIO(self.baseFilename, self.mode, opener=opener))
        return TextIOWrapper(file, self.encoding)


def _resource(uri: str) -> str:
    return shortened(uri)[:LONGEST]
