"""May the nodes do what they do? Each command, each domain's keys and each channel is asked for.

A user who asks for himself begins a transaction, in which commands are looked at and not
carried out, and drops it. An administrator, and who may not do that, asks by ACL DRYRUN.
"""

import re
from collections.abc import Sequence
from enum import Enum, auto

from redis.exceptions import NoPermissionError, ResponseError

from restms_cluster import permissions
from restms_cluster.findings import Finding, Grade, Seen, Wanted, ok, unseen
from restms_cluster.keys import domain_key
from restms_cluster.levels import Level
from restms_cluster.link import Answer, Argument
from restms_cluster.permissions import Examples, on, rule
from restms_cluster.visits import Visit, text

KEYS, CHANNELS = "~restms:*", "&restms:*"

_QUOTED = re.compile("'[^']*'")


class _No(Enum):
    """What is refused: the command, its keys, or its channels."""

    COMMAND = auto()
    KEY = auto()
    CHANNEL = auto()


async def check_permissions(
    visit: Visit, seen: Seen, wanted: Wanted, domains: Sequence[str]
) -> list[Finding]:
    """Look whether the nodes' user may do what they do in these domains.

    Raises StateUnavailableError.
    """
    probe = f"{domain_key(domains[0])}:written"  # one that there may be, of those that expire
    needed, optional = _needed(probe, seen, wanted), on(probe, permissions.OPTIONAL)
    keys: list[tuple[Argument, ...]] = [("GET", f"{domain_key(name)}:written") for name in domains]
    if seen.kind != "cluster":  # a server of one might not have that key
        keys += [("GET", key) for key in permissions.RESTED_KEYS]
    channel = f"__keyspace@{visit.address.db}__:{probe}"
    asked = [*needed.values(), *optional.values(), *keys, ("SUBSCRIBE", channel)]
    answers = await _ask(visit, wanted.user, asked)
    if answers is None:
        return [unseen(word, "what it allows") for word in ("commands", "keys", "channels")]
    user = wanted.user or visit.address.username or "default"
    told = iter(answers)
    refused = {name: next(told) for name in needed}
    left_out = [name for name in optional if next(told) is _No.COMMAND and name not in needed]
    others = [next(told) for _ in keys]
    return [
        _commands(user, [name for name, no in refused.items() if no is _No.COMMAND], left_out),
        _keys(user, refused=_No.KEY in (*refused.values(), *others)),
        _channels(user, visit, own=_No.CHANNEL not in refused.values(), events=next(told) is None),
    ]


def _needed(key: str, seen: Seen, wanted: Wanted) -> Examples:
    level = wanted.durability
    parts = (
        (permissions.SCRIPTS, True),
        (permissions.NODES, True),
        (permissions.QUOTA, wanted.quota),
        (permissions.REPLICAS, level.wants(Level.REPLICAS)),
        (permissions.DISK, level.wants(Level.DISK)),
        (permissions.CLUSTER, seen.kind == "cluster"),
    )
    return {
        name: words
        for examples, is_needed in parts
        if is_needed
        for name, words in on(key, examples).items()
    }


async def _ask(
    visit: Visit, user: str | None, commands: Sequence[Sequence[Argument]]
) -> list[_No | None] | None:
    """Return what is refused of each command; None where nobody tells."""
    if user is None:
        (begun,) = await visit.ask(("MULTI",))
        if begun == b"OK":
            try:
                return [_no(answer) for answer in await visit.ask(*commands)]
            finally:
                await visit.ask(("DISCARD",))
        (who,) = await visit.ask(("ACL", "WHOAMI"))
        if not isinstance(who, bytes):
            return None
        user = text(who)
    answers = await visit.ask(*(("ACL", "DRYRUN", user, *command) for command in commands))
    if any(isinstance(answer, NoPermissionError) for answer in answers):
        return None
    return [_no(answer) for answer in answers]


def _no(answer: Answer) -> _No | None:
    said = _QUOTED.sub("", text(answer))
    if isinstance(answer, ResponseError) and not isinstance(answer, NoPermissionError):
        return _No.COMMAND if "unknown" in said else None
    if "permission" not in said:
        return None
    if "to run" in said:
        return _No.COMMAND
    return _No.CHANNEL if "channel" in said else _No.KEY


def _commands(user: str, refused: Sequence[str], left_out: Sequence[str]) -> Finding:
    if refused:
        return Finding(
            "commands",
            Grade.FAILURE,
            f"the user {user} may not use {', '.join(refused)}",
            _rules(user, *map(rule, refused)),
            "Nodes use these commands, in part only now and then.",
        )
    if left_out:
        return Finding(
            "commands",
            Grade.HINT,
            f"the user {user} may use all that nodes need, but not {', '.join(left_out)}",
            _rules(user, *map(rule, left_out)),
            "Nodes do without: they then cannot warn of settings or put them right, nor bring the "
            "state to the format of a newer version (CLIENT KILL).",
        )
    return ok("commands", f"the user {user} may use all that nodes use")


def _keys(user: str, *, refused: bool) -> Finding:
    if not refused:
        return ok("keys", f"the user {user} may use the keys of the domains")
    return Finding(
        "keys",
        Grade.FAILURE,
        f"the user {user} may not use all keys of the domains",
        _rules(user, KEYS),
        "Nodes cannot serve these domains.",
    )


def _channels(user: str, visit: Visit, *, own: bool, events: bool) -> Finding:
    wanted = (CHANNELS, f"&__keyspace@{visit.address.db}__:restms:*")
    if own and events:
        return ok("channels", f"the user {user} may use the channels of the hints")
    return Finding(
        "channels",
        Grade.WARNING if own else Grade.FAILURE,
        f"the user {user} may not use {'those of keyspace events' if own else 'their channels'}",
        _rules(user, *wanted),
        "The scripts publish hints of messages themselves, which costs Redis more."
        if own
        else "Waiting readers are not told of messages: they find them seconds later.",
    )


def _rules(user: str, *rules: str) -> tuple[str, ...]:
    return (
        f"at once: ACL SETUSER {user} {' '.join(rules)}",
        f"for good: the same in the aclfile, in the line of the user {user} (or ACL SAVE)",
    )
