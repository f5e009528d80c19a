"""The TOML file of a server: its values, and where in it each of them stands."""

import re
import tomllib
from pathlib import Path
from typing import Any

from restms_cluster.errors import StartError
from restms_node import places
from restms_node.places import Places
from restms_node.tables import FaultError

MOST_BYTES = 16 * 1024 * 1024

_WHERE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


class ConfigFile:
    """A file that was read, or none, in which nothing is set."""

    def __init__(self, path: Path | None = None, text: str = "") -> None:
        self.path = path
        self.values: dict[str, Any] = {}
        self._places = Places("")
        if path is not None:
            text = text.removeprefix("\N{BYTE ORDER MARK}")
            try:
                self.values = tomllib.loads(text)
            except tomllib.TOMLDecodeError as error:
                raise _no_toml(path, text, str(error)) from error
            self._places = Places(text)

    def error(self, text: str, where: places.Path) -> StartError:
        """Return what ends the start: file, line and one sentence."""
        return StartError(f"{self.path}:{self._places.line(where)}: {text}")

    def fault(self, fault: FaultError) -> StartError:
        """Return what ends the start because of a fault in a table."""
        return self.error(str(fault), fault.path)

    def beside(self, name: str) -> Path:
        """Return a path that the file names, which is relative to the folder that it is in."""
        folder = Path() if self.path is None else self.path.parent
        return (folder / Path(name).expanduser()).absolute()


def read(path: Path) -> ConfigFile:
    """Read a file. Raises StartError with one sentence that names the place of the fault."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES)
    except OSError as error:
        raise StartError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        return ConfigFile(path, data.decode())
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise StartError(f"{path}:{line}: This is not TOML: it is not in UTF-8.") from error


def _no_toml(path: Path, text: str, reason: str) -> StartError:
    found = _WHERE.search(reason)
    line = found[1] if found and found[1] else str(text.rstrip("\n").count("\n") + 1)
    return StartError(f"{path}:{line}: This is not TOML: {_WHERE.sub('', reason)}.")
