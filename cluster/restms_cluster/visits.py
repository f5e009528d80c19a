"""Visits: looking at a server from outside of the cluster, for those who operate it.

A visitor must not be felt. It has one link, asks for little at a time, waits for every answer
within bounds, and pauses between the steps of a long walk for longer than the steps take.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Self

import trio
from redis.exceptions import ResponseError

from restms_cluster.address import Address
from restms_cluster.errors import StateUnavailableError
from restms_cluster.link import CONNECT_SECONDS, Answer, Argument, Link, LostError, Reply

IDLE = 3  # how much longer a pause is than the step before it
LONGEST_PAUSE_SECONDS = 1.0


class RefusedError(StateUnavailableError):
    """The server refuses what is asked: this user may not, or it does not know the command."""

    word = "refused"


class Visit:
    """One link to a server, used by one task."""

    def __init__(self, address: Address, link: Link, seconds: float) -> None:
        self.address = address
        self._link = link
        self._seconds = seconds
        self._took = 0.0

    async def ask(self, *commands: Sequence[Argument]) -> list[Answer]:
        """Run commands in one round trip; return what each is answered, whatever it is.

        Raises StateUnavailableError where the link is lost, or the answers take too long.
        """
        begun = trio.current_time()
        try:
            with trio.fail_after(self._seconds):
                answers = await self._link.answers(commands)
        except trio.TooSlowError:
            await self._link.aclose()  # the next answer would be taken for another one's
            raise LostError(
                f"{self.address} did not answer within {self._seconds:g} seconds."
            ) from None
        except LostError as error:
            raise LostError(f"The connection to {self.address} was lost.") from error
        self._took = trio.current_time() - begun
        return answers

    async def look(self, *commands: Sequence[Argument]) -> list[Reply]:
        """Run commands in one round trip; return their replies.

        Raises RefusedError where one is refused, StateUnavailableError as `ask` does.
        """
        return [
            self._good(command[0], answer)
            for command, answer in zip(commands, await self.ask(*commands), strict=True)
        ]

    async def pause(self) -> None:
        """Leave the server to others, for longer than it was busy with the last call."""
        await trio.sleep(min(IDLE * self._took, LONGEST_PAUSE_SECONDS))

    @property
    def took(self) -> float:
        """How many seconds the last call took."""
        return self._took

    def _good(self, command: Argument, answer: Answer) -> Reply:
        if isinstance(answer, ResponseError):
            reason = str(answer).rstrip(".")
            raise RefusedError(f"{self.address} refuses {text(command)}: {reason}.") from None
        if isinstance(answer, StateUnavailableError):
            raise StateUnavailableError(f"{self.address} cannot be asked: {answer.text}") from None
        return answer


@asynccontextmanager
async def visiting(address: Address, seconds: float) -> AsyncGenerator[Visit]:
    """Connect for the time of a block; each answer may take so many seconds.

    Raises StateUnavailableError when that fails.
    """
    async with await Link.open(address, timeout=min(seconds, CONNECT_SECONDS)) as link:
        yield Visit(address, link, seconds)


def text(value: object) -> str:
    """Return what Redis sent as text, whatever it is; nothing for nothing."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)


def facts(answer: object) -> dict[str, str]:
    """Read what INFO says; nothing where it says nothing."""
    pairs = (line.partition(":") for line in text(answer).splitlines())
    return {name: value for name, separator, value in pairs if separator}


def pairs(answer: object) -> dict[str, str]:
    """Read a list of names, each with its value behind it; nothing where there is none."""
    if not isinstance(answer, list):
        return {}
    return {text(name): text(value) for name, value in zip(answer[::2], answer[1::2], strict=False)}


class Walk:
    """A walk through the members of a sorted set, or through keys: pages of what is found.

    A page may be empty, and each name is told once. There is a pause before each step but the
    first. Going on raises StateUnavailableError.
    """

    def __init__(
        self, visit: Visit, command: Sequence[Argument], options: Sequence[Argument], step: int = 1
    ) -> None:
        """`command` and `options` stand around the cursor; each `step`-th word found is a name."""
        self._visit = visit
        self._command = command
        self._options = options
        self._step = step
        self._cursor: bytes | None = None
        self._told: set[bytes] = set()

    def __aiter__(self) -> Self:
        """Return the walk."""
        return self

    async def __anext__(self) -> list[bytes]:
        """Take a step."""
        if self._cursor == _END:
            raise StopAsyncIteration
        if self._cursor is not None:
            await self._visit.pause()
        (reply,) = await self._visit.look((*self._command, self._cursor or _END, *self._options))
        self._cursor, page = page_of(reply)
        names = (name for name in page[:: self._step] if isinstance(name, bytes))
        fresh = [name for name in names if name not in self._told]
        self._told.update(fresh)
        return fresh


def members(visit: Visit, key: str, count: int) -> Walk:
    """Walk through a sorted set, of which about so many are told in a step."""
    return Walk(visit, ("ZSCAN", key), ("COUNT", count), step=2)


def hashes(visit: Visit, pattern: str, count: int) -> Walk:
    """Walk through all keys, so many in a step; told are the hashes that fit a pattern."""
    return Walk(visit, ("SCAN",), ("MATCH", pattern, "COUNT", count, "TYPE", "hash"))


_END = b"0"  # Redis's cursor for the beginning and the end


def seconds_of(clock: object) -> float:
    """Return what TIME says, in seconds since the epoch. Raises RefusedError."""
    match clock:
        case [seconds, micros]:
            return int(text(seconds)) + int(text(micros)) / 1_000_000
    raise RefusedError("Redis does not tell the time.")


def page_of(reply: Reply) -> tuple[bytes, list[Reply]]:
    """Read a step of a walk: where to go on, and what was found. Raises RefusedError."""
    match reply:
        case [bytes(cursor), list(found)]:
            return cursor, found
    raise RefusedError("Redis answers a walk through its keys with something else.")


def number(value: object) -> int | None:
    """Return a whole number that is not negative, as Redis sent it; None where it is none."""
    digits = text(value)
    return int(digits) if digits.isascii() and digits.isdecimal() else None
