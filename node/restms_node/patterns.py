"""Patterns of names: `*` is any run of characters, `?` is any one, every other is itself.

Matching takes one step for each character of the name, whatever the pattern:
all places where it may stand by then are bits of one number.
"""

from dataclasses import dataclass, field

ANY, ANY_ONE = "*", "?"


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern of names. Upper and lower case are different."""

    text: str
    _stays: int = field(init=False, repr=False, compare=False)
    _moves: dict[str, int] = field(init=False, repr=False, compare=False)
    _moves_by_any: int = field(init=False, repr=False, compare=False)
    _end: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Read the pattern: place n is where n characters of it, but for the stars, have fit."""
        stays, by_any, place = 0, 0, 1
        moves: dict[str, int] = {}
        for character in self.text:
            if character == ANY:
                stays |= place
                continue
            if character == ANY_ONE:
                by_any |= place
            else:
                moves[character] = moves.get(character, 0) | place
            place <<= 1
        object.__setattr__(self, "_stays", stays)
        object.__setattr__(self, "_moves", {c: bits | by_any for c, bits in moves.items()})
        object.__setattr__(self, "_moves_by_any", by_any)
        object.__setattr__(self, "_end", place)

    def matches(self, name: str) -> bool:
        """Tell whether the whole name fits."""
        places = 1
        for character in name:
            moving = places & self._moves.get(character, self._moves_by_any)
            places = (moving << 1) | (places & self._stays)
            if not places:
                return False
        return bool(places & self._end)
