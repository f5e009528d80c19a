"""A file of credentials or keys, which may be changed while the node runs."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

import trio

from restms_cluster.errors import StartError

T = TypeVar("T")

LOOK_SECONDS = 2.0
MOST_BYTES = 16 * 1024 * 1024

_State: TypeAlias = tuple[int, int, int] | None

_log = logging.getLogger("restms.files")


class LineError(ValueError):
    """What is wrong in a file, in one sentence, and on which line."""

    def __init__(self, text: str, line: int) -> None:
        super().__init__(text)
        self.line = line


class WatchedFile(Generic[T]):
    """What a file holds, as `read` understands it: read now, and again when the file changes.

    `read` raises LineError. A file that is wrong when it is read first ends the
    start, by StartError; a change that is wrong is logged, and what was there is kept.
    """

    def __init__(self, path: Path, read: Callable[[bytes], T]) -> None:
        self._path = path
        self._read = read
        self._state: _State = None
        self.value = self._load()

    async def run(self, changed: Callable[[], None]) -> None:
        """Look whether the file has changed, again and again; call `changed` after each change."""
        while True:
            await trio.sleep(LOOK_SECONDS)
            try:
                # Where files come over a network, this may take long.
                found = await trio.to_thread.run_sync(self._changed, abandon_on_cancel=True)
            except StartError as error:
                _log.warning("what was read before is kept: %s", error)
                continue
            if found:
                (self.value,) = found
                changed()
                _log.info("%s was read again", self._path)

    def _changed(self) -> tuple[T, ...]:
        """Return the file's new value; none where nothing has changed."""
        try:
            state = _state(self._path.stat())
        except OSError:
            state = None
        if state == self._state:
            return ()
        self._state = state  # also of what is wrong, which is told once
        return (self._load(),)

    def _load(self) -> T:
        try:
            with self._path.open("rb") as file:
                self._state = _state(os.fstat(file.fileno()))
                data = file.read(MOST_BYTES + 1)
        except OSError as error:
            raise StartError(f"{self._path} cannot be read: {error.strerror}.") from error
        if len(data) > MOST_BYTES:
            raise StartError(f"{self._path} is larger than {MOST_BYTES} bytes.")
        try:
            return self._read(data)
        except LineError as error:
            raise StartError(f"{self._path}:{error.line}: {error}") from error


def _state(stat: os.stat_result) -> _State:
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
