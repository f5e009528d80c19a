"""The file with the number of a node's process, for those who look after it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from restms_cluster.errors import StartError

LONGEST = 20  # characters of a number


@contextmanager
def written(path: Path | None) -> Iterator[None]:
    """Have the file, if one is asked for, say this process for the time of a block.

    Raises StartError where it cannot be written.
    """
    if path is None:
        yield
        return
    ours = f"{os.getpid()}\n"
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        # Whole or not at all: nobody must read half of a number.
        new.write_text(ours)
        new.replace(path)
    except OSError as error:
        raise StartError(f"{path} cannot be written: {error.strerror}.") from error
    try:
        yield
    finally:
        with suppress(OSError):
            if path.read_text() == ours:  # else another node has it by now
                path.unlink()


def read(path: Path) -> int:
    """Return the number of the process; StartError where there is none."""
    try:
        with path.open() as file:
            text = file.read(LONGEST)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise StartError(f"{path} cannot be read: {reason}.") from error
    if not text.strip().isascii() or not text.strip().isdigit():
        raise StartError(f"{path} does not have the number of a process.")
    return int(text)
