"""Tables of the configuration file, as those read them who know what they mean.

A fault in one is told with the table's name, and with the path by which the
file's lines can be found.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from restms_node.places import Path


class FaultError(ValueError):
    """What is wrong in the file, in one sentence, and where."""

    def __init__(self, text: str, path: Path) -> None:
        super().__init__(text)
        self.path = path


@dataclass(frozen=True, slots=True)
class Table:
    """A table: `what` names it in sentences, `path` says where in the file it is."""

    what: str
    values: dict[str, object]
    path: Path

    def fault(self, text: str, *keys: str | int) -> FaultError:
        """Return a fault of the table, or of one of its keys."""
        return FaultError(text, (*self.path, *keys))

    def check_keys(self, known: Collection[str]) -> None:
        """Raise FaultError where there is a key that is not known."""
        for key in self.values:
            if key not in known:
                names = ", ".join(known)
                raise self.fault(
                    f'The {self.what} has an unknown key "{key}"; known: {names}.', key
                )

    def text(self, key: str, default: str = "") -> str:
        """Return a text."""
        value = self.values.get(key, default)
        if not isinstance(value, str):
            raise self.fault(f"The {key} of the {self.what} must be a text.", key)
        return value

    def texts(self, key: str, default: Sequence[str] = ()) -> tuple[str, ...]:
        """Return a list of texts."""
        value = self.values.get(key, list(default))
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.fault(f"The {key} of the {self.what} must be a list of texts.", key)
        return tuple(value)

    def number(self, key: str, default: float) -> float:
        """Return a number."""
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.fault(f"The {key} of the {self.what} must be a number.", key)
        return value

    def tables(self, key: str) -> "list[Table]":
        """Return the tables within this one that are written under double brackets."""
        return listed(self.values.get(key, []), key, (*self.path, key), f" of the {self.what}")


def listed(value: object, noun: str, path: Path, of: str = "") -> list[Table]:
    """Return the tables that are written under double brackets, each with its name if it has one.

    Raises FaultError where the value is no list of tables.
    """
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        text = f"A {noun}{of} is written as a table of its own, under double brackets."
        raise FaultError(text, path)
    return [
        Table(f"{_titled(noun, entry)}{of}", entry, (*path, number))
        for number, entry in enumerate(value)
    ]


def _titled(noun: str, entry: dict[str, object]) -> str:
    name = entry.get("name")
    return f'{noun} "{name}"' if isinstance(name, str) else noun
