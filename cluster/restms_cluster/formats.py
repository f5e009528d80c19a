"""The format of the state: what nodes of two versions must agree on to work side by side.

A version may write more than the one before it (another field, another key), as long as the
one before goes on well with it, and it with what that one writes: then the format stays, and
both run side by side. A change that older nodes would spoil, or that would spoil them, makes a
new format. The state of each domain has the number of its own; nodes compare it when they
`enter` (epochs.py), on each new link to a server, before any other call. A node brings an
older state to its own format (`domain_upgrade.lua`), and leaves a newer one alone.

Older nodes have links that they entered by before. So with the same step that changes the
format, the server ends all links but the one that asks for it: whatever comes over them later
is not carried out, and on the next link older nodes find out. It costs nothing while they run.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from redis.exceptions import ResponseError

from restms_cluster.errors import StateUnavailableError
from restms_cluster.link import Answer, Argument, Reply
from restms_cluster.scripts import Library, Transition, check

FORMAT = 1
"""The format that this version works with. Every number below has a step in domain_upgrade.lua."""

FIRST_NUMBERED = 1
"""What is older has no number, and is like this one: nodes that know of no formats may go on."""

_log = logging.getLogger("restms.formats")


class NewerFormatError(StateUnavailableError):
    """The state is of a format that this version does not know."""

    word = "newer_format"


class Server(Protocol):
    """What commands can be run on: a connection, or a link before it is one's."""

    async def call_many(
        self, commands: Sequence[Sequence[Argument]]
    ) -> Sequence[Reply | ResponseError]:
        """Run commands in one round trip; return their replies and error replies.

        Raises StateUnavailableError when the server cannot serve now.
        """
        ...

    async def answers(self, commands: Sequence[Sequence[Argument]]) -> Sequence[Answer]:
        """Run commands in one round trip; return what each is answered, whatever it is."""
        ...


@dataclass(frozen=True, slots=True)
class DomainUpgrade(Transition):
    """Bring a domain's state to a format."""

    format: int


check(DomainUpgrade)


def newer(domain: str, found: int) -> NewerFormatError:
    """Return what to say of a domain whose format is too new."""
    return NewerFormatError(
        f"The state of the domain {domain} has format {found}, of a newer version of restms; "
        f"this version works with format {FORMAT}."
    )


async def upgrade(link: Server, domain: str, found: int, library: Library) -> None:
    """Bring a domain from an older format to ours, and shut nodes out that know only the older.

    Raises StateUnavailableError where that cannot be done now, or not by this user of Redis.
    """
    text = library.text(DomainUpgrade.script())
    step: tuple[Argument, ...] = ("EVAL", text, *DomainUpgrade(domain, FORMAT).arguments())
    if found < FIRST_NUMBERED:
        _check(await link.answers([step]))
        return
    _log.warning(
        "The state of the domain %s goes from format %d to %d: older nodes are shut out.",
        domain,
        found,
        FORMAT,
    )
    ended = ("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    # Where MULTI is refused, what follows it would run all the same.
    _check(await link.answers([("MULTI",), ("DISCARD",)]))
    told = await link.answers([("MULTI",), step, ended, ("EXEC",)])
    _check(told)
    _check(told[-1] if isinstance(told[-1], list) else [])


def _check(answers: Iterable[Answer]) -> None:
    for answer in answers:
        if isinstance(answer, StateUnavailableError):
            raise answer
        if isinstance(answer, ResponseError):
            raise StateUnavailableError(
                "The state is of an older format, and Redis refuses to let it be upgraded "
                f"(by MULTI, EVAL, CLIENT KILL and EXEC): {answer}"
            )
