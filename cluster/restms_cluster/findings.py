"""Findings: what a checkup says of a server, how bad that is, and what to change.

`word` is stable, for programs. A finding that could not be made, because the server does not
let itself be looked at, says so and harms nobody.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from restms_cluster.address import Address
from restms_cluster.levels import Durability
from restms_cluster.visits import number


class Grade(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    HINT = "hint"
    UNSEEN = "unseen"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what was found, what to change (line by line), and why.

    `server` is where it was found, empty for what is about several.
    """

    word: str
    grade: Grade
    found: str
    change: tuple[str, ...] = ()
    why: str = ""
    server: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the nodes want of Redis, by their settings, and how it is found out.

    `seconds` is how long an answer may take. `user` is the nodes' user, where it is not the
    one who asks. Without `writes` nothing is written, not even what expires by itself.
    """

    durability: Durability = field(default_factory=Durability)
    domains: tuple[str, ...] = ("default",)
    quota: bool = False
    seconds: float = 10.0
    user: str | None = None
    writes: bool = True


@dataclass(frozen=True, slots=True)
class Seen:
    """A server as it describes itself.

    `kind` says how it was found: "server", "sentinel" or "cluster". `info` and `config` have
    nothing of what it does not tell, or not this user. `pings` are seconds; `ahead` is by how
    many seconds its clock is before that of this machine.
    """

    address: Address
    kind: str
    hello: Mapping[str, str]
    info: Mapping[str, str]
    config: Mapping[str, str]
    pings: Sequence[float] = ()
    ahead: float = 0.0

    @property
    def is_primary(self) -> bool:
        """Whether it takes writes."""
        return self.hello.get("role") == "master"

    def count(self, name: str) -> int | None:
        """Return a number that it tells of, None where it does not."""
        return number(self.info.get(name, self.config.get(name)))


def ok(word: str, found: str) -> Finding:
    """Return the finding that all is well."""
    return Finding(word, Grade.OK, found)


def unseen(word: str, what: str) -> Finding:
    """Return the finding that nothing can be said: `what` this user is not told."""
    return Finding(word, Grade.UNSEEN, f"the server does not tell this user {what}")


def setting(name: str, value: str) -> tuple[str, ...]:
    """Return how a setting is changed, for good and at once."""
    quoted = value or '""'
    return (f"redis.conf: {name} {quoted}", f"at once: CONFIG SET {name} {quoted}")


def worst(findings: Sequence[Finding]) -> Grade:
    """Return the worst grade there is."""
    order = list(Grade)
    return max((finding.grade for finding in findings), key=order.index, default=Grade.OK)
