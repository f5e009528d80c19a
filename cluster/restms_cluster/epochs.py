"""Epochs: what a node does first on each new link to a server of its domains.

A pipe numbers its messages, and a message's URI has its number. A server that has lost its
last writes (a replica that was promoted and lagged, a crash, a backup) would give out numbers
again that clients have had for other messages. So each domain remembers the `run` of the
server that it was on last, and where that is another one now, its numbers go on from a floor
above all that can have been given out (`domain_enter.lua`).

A run is a server's process and its place in a history of replication: the first changes with
every start, the second with every promotion. A restart loses nothing where the embedded server
was stopped in order: then its supervisor says so (`RESTED`), and the numbers go on as they were.

What is assumed of clocks: two servers that take over one after the other, each from the same
state, tell times that differ; and between two changes of the server a pipe does not get more
than 2048 messages for each millisecond that passes by those clocks. One that goes on unseen by
the others (a primary that was cut off) is so held apart, with 100,000 messages a second in one
pipe, for twenty times as long as it had been the primary before.
"""

import hashlib
import logging
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from redis.exceptions import ResponseError

from restms_cluster.errors import StateUnavailableError
from restms_cluster.formats import FORMAT, Server, newer, upgrade
from restms_cluster.keys import domain_key
from restms_cluster.link import Answer, Argument, DemotedError, MovingError, Reply
from restms_cluster.scripts import Library
from restms_cluster.transitions import DomainEnter

RESTED = "restms:rested"
"""The embedded server's word that one run ended in order before another: `before now`."""

_log = logging.getLogger("restms.epochs")


async def enter(link: Server, domains: Iterable[str], library: Library) -> bool:
    """Begin an epoch of each domain's numbers where the server or its history has changed.

    Returns whether one did. It comes before any other call of the domains on a new link, and
    brings what is of an older format to ours. Raises StateUnavailableError when the server cannot
    be used now, DemotedError when it is a replica, NewerFormatError when the state is too new.
    """
    run = await run_of(link)
    # A server of a Redis Cluster is no embedded one, and might not have that key.
    rested = await _rested_before(link, run) if run and not library.guarded else ""
    runs = {name: run or await _marked_run(link, name) for name in domains}
    answers = await _entered(link, runs, rested, library)
    older = {name: found for name, (word, found) in answers.items() if word == "older"}
    for name, found in older.items():
        await upgrade(link, name, found, library)
    if older:
        again = {name: runs[name] for name in older}
        answers |= await _entered(link, again, rested, library)
    for name, (word, found) in answers.items():
        if word != "ok":
            raise newer(name, found)
    moved = [name for name, (_, begun) in answers.items() if begun]
    if moved:
        _log.warning(
            "Redis has changed and may have lost messages: their numbers go on from higher ones "
            "(in the domains: %s).",
            ", ".join(moved),
        )
    return bool(moved)


async def _entered(
    link: Server, runs: Mapping[str, str], rested: str, library: Library
) -> dict[str, tuple[str, int]]:
    """Return what `domain_enter.lua` answers for each domain: a word and a number."""
    text = library.text(DomainEnter.script())
    entering = [
        ("EVAL", text, *DomainEnter(name, run, rested, FORMAT).arguments())
        for name, run in runs.items()
    ]
    entered: dict[str, tuple[str, int]] = {}
    for name, answer in zip(runs, await link.answers(entering), strict=True):
        # Of a domain that has begun to move away nothing runs here: the others are not to wait.
        if not isinstance(answer, MovingError):
            word, number = cast("tuple[bytes, int]", _good(answer))
            entered[name] = word.decode(), number
    return entered


async def rest(link: Server, word: str) -> None:
    """Have the embedded server keep that its run ends in order: the last that it is told.

    What it keeps, it keeps in order: if it has this, it has all. `word` stands outside of its
    data until it starts again, so that this is not believed of a copy of those.
    """
    await _asked(link, ("SET", RESTED, f"{await run_of(link)} {word}"))


async def begin(link: Server, word: str) -> None:
    """Tell nodes that the embedded server goes on from a run that ended in order, if it does."""
    (kept,) = await _asked(link, ("GET", RESTED))
    before, _, same = kept.decode().partition(" ") if isinstance(kept, bytes) else ("", "", "")
    if word and word == same:
        await _asked(link, ("SET", RESTED, f"{before} {await run_of(link)}"))
    else:
        await _asked(link, ("DEL", RESTED))


async def run_of(link: Server) -> str:
    """Return the server's run; nothing where it does not tell.

    Raises DemotedError when it is a replica.
    """
    process, history = (
        _facts(answer)
        for answer in await link.call_many([("INFO", "server"), ("INFO", "replication")])
    )
    if history.get("role") == "slave":
        raise DemotedError("Redis is a read-only replica.")
    if "run_id" not in process or "master_replid" not in history:
        return ""
    return f"{process['run_id']}:{history['master_replid']}"


async def _rested_before(link: Server, run: str) -> str:
    """Return the run that ended in order, with all its writes, before this one; or nothing."""
    (answer,) = await link.call_many([("GET", RESTED)])
    before, _, now = answer.decode().partition(" ") if isinstance(answer, bytes) else ("", "", "")
    return before if now == run else ""


async def _marked_run(link: Server, domain: str) -> str:
    """Return a run of a server that does not tell (a managed service, a user who may not ask).

    It is marked by a script that is loaded and does nothing: scripts are neither kept over a
    restart nor given to replicas, so it is there as long as the process is the same.
    """
    (known,) = await _asked(link, ("HGET", domain_key(domain), "run"))
    if isinstance(known, bytes):
        digest = hashlib.sha1(_mark(known.decode()), usedforsecurity=False).hexdigest()
        (there,) = await _asked(link, ("SCRIPT", "EXISTS", digest))
        if there == [1]:
            return known.decode()
    run = secrets.token_hex(20)
    await _asked(link, ("SCRIPT", "LOAD", _mark(run)))
    return run


def _mark(run: str) -> bytes:
    return f"return '{run}'".encode()


def _facts(answer: Reply | ResponseError) -> dict[str, str]:
    """Read what INFO says; nothing where it says nothing."""
    text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else ""
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: value for name, _, value in pairs}


async def _asked(link: Server, *commands: Sequence[Argument]) -> list[Reply]:
    return [_good(answer) for answer in await link.answers(commands)]


def _good(answer: Answer) -> Reply:
    if isinstance(answer, StateUnavailableError):
        raise answer
    if isinstance(answer, ResponseError):
        raise StateUnavailableError(
            f"Redis (7.0 or newer, or any Valkey, is needed) refuses to be entered: {answer}"
        )
    return answer
