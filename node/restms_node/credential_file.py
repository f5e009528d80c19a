"""Changing a file of credentials from the command line: as a whole, or not at all."""

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from restms_cluster.errors import StartError
from restms_node.watched_file import LineError


def change(
    path: Path, edit: Callable[[list[str]], list[str]], check: Callable[[bytes], object]
) -> None:
    """Replace a file by what `edit` makes of its lines, if `check` finds that well-formed.

    A new file may be read by its owner only; one that was there keeps its
    permissions. Whoever reads it meanwhile sees the old one or the new one. Raises
    StartError, and leaves the file as it was.
    """
    try:
        with _alone(path.resolve().parent):
            old = path.read_bytes() if path.exists() else b""
            check(old)
            text = old.decode().removesuffix("\n")
            lines = edit(text.split("\n") if text else [])
            new = "".join(f"{line}\n" for line in lines).encode()
            check(new)
            _replace(path, new)
    except OSError as error:
        raise StartError(f"{path} cannot be changed: {error.strerror}.") from error
    except LineError as error:
        raise StartError(f"{path}:{error.line}: {error}") from error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep others who change a file of this folder waiting."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def is_of(line: str, place: int, text: str) -> bool:
    """Tell whether a line has a text in that place, and is no comment."""
    fields = line.strip().split(":")
    return not line.strip().startswith("#") and len(fields) > place and fields[place] == text


def _replace(path: Path, data: bytes) -> None:
    path = path.resolve()  # a link stays one
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600
    new = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            stat = path.stat()
            new.chmod(stat.st_mode & 0o777)
            if (stat.st_uid, stat.st_gid) != (os.geteuid(), os.getegid()):
                os.chown(new, stat.st_uid, stat.st_gid)
        new.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            new.unlink()
        raise
