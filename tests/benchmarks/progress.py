"""What is measured now, and how much time is left."""

import shutil
import sys
import time
from collections.abc import Sequence

from tests.benchmarks.measure import Group

START_SECONDS = 4.0  # a guess, for what a group starts


class Progress:
    """Tells on standard error how far the run is; on a terminal in one line that changes."""

    def __init__(self, groups: Sequence[tuple[Group, int]]) -> None:
        """`groups` come with their rounds, in order."""
        self._left = list(groups)
        self._of = len(groups)
        self._began = 0.0
        self._rounds = 0
        self._line = sys.stderr.isatty()

    def group(self, text: str) -> None:
        """The next group begins, with this first."""
        self._began, self._rounds = time.monotonic(), 0
        self._say(f"{self._left[0][0].name}: {text}")

    def way(self, round_number: int, text: str) -> None:
        """Something is measured, in a round that is counted from 1."""
        group, rounds = self._left[0]
        if not self._rounds:
            self._began = time.monotonic()
        self._rounds = round_number
        self._say(f"{group.name}, round {round_number} of {rounds}: {text}")

    def ended(self) -> None:
        """The group has ended."""
        self._left.pop(0)
        if not self._left and self._line:
            print(file=sys.stderr)

    def _say(self, text: str) -> None:
        number = self._of - len(self._left) + 1
        line = f"[{number}/{self._of}] {text} ({_duration(self._seconds_left())} left)"
        if self._line:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r{line[:width]:{width}}", end="", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)

    def _seconds_left(self) -> float:
        group, rounds = self._left[0]
        done = self._rounds - 1
        each = (time.monotonic() - self._began) / done if done > 0 else group.guess
        left = each * (rounds - max(done, 0))
        return left + sum(START_SECONDS + one.guess * many for one, many in self._left[1:])


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
