"""The Lua scripts: reading them, composing them, matching them with their stubs.

A script names its arguments in its first lines (`local feed = ARGV[1]`); the
stub of the same name in `transitions.py` has fields of the same names in the
same order. `check` compares the two when the stubs are imported, so that
neither can change alone. A line `--@ include a b` stands for the library
scripts `lib_….lua` (which may include others), and `profiles` for the Lua of
every profile in use, with what it needs around it.
"""

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import cache
from importlib.resources import files
from operator import attrgetter
from typing import Any, ClassVar, TypeAlias

from restms_cluster.keys import domain_key

Argument: TypeAlias = str | bytes | int


class Outcome(StrEnum):
    """The first word of a script's answer."""

    OK = "ok"
    EXISTS = "exists"
    MISSING = "missing"
    NEXT = "next"
    MORE = "more"
    INSIDE = "inside"
    GONE = "gone"
    STALE = "stale"
    FULL = "full"
    CONFIGURED = "configured"
    NOT_OWNER = "not_owner"
    RESERVED = "reserved"
    TOO_MANY = "too_many"
    NO_FEED = "no_feed"
    NO_CONTENT = "no_content"
    OTHER_FEED = "other_feed"
    UNKNOWN_TYPE = "unknown_type"
    TYPE_DIFFERS = "type_differs"
    NOT_QUEUEING = "not_queueing"
    QUEUE_FULL = "queue_full"
    NO_ROOM = "no_room"
    BUSY = "busy"
    BAD_ADDRESS = "bad_address"
    TOO_DEAR = "too_dear"
    APART = "apart"
    BROKEN = "broken"
    BAD_MATCH = "bad_match"
    BAD_JOIN = "bad_join"
    ONCE_DIFFERS = "once_differs"
    HELD = "held"


@cache
def _script_name(stub: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", stub).lower()


@dataclass(frozen=True, slots=True)
class Transition:
    """A call of one script. Subclasses have the script's arguments as fields.

    The first field is the domain (the script's one key); a last field that is
    a tuple stands for any number of arguments. `reads` tells that a call may
    be repeated after a lost connection.
    """

    reads: ClassVar[bool] = False

    domain: str

    @classmethod
    def script(cls) -> str:
        """Return the script's name: message_publish for MessagePublish."""
        return _script_name(cls.__name__)

    def arguments(self) -> list[Argument]:
        """Return what follows the script in EVALSHA: the key count, the key, the arguments."""
        values: list[Argument] = [1, domain_key(self.domain)]
        for name in _argument_names(type(self)):
            value = getattr(self, name)
            if isinstance(value, tuple):
                values.extend(value)
            else:
                values.append(value)
        return values


@dataclass(frozen=True, slots=True)
class Grouped(Transition):
    """A call that may travel with others of the same script, which takes any number of them.

    The fields named in `shared` are alike for all of them, and stand first in
    the script's arguments. Its answer is a list, with an answer to each call.
    """

    shared: ClassVar[tuple[str, ...]] = ()

    @property
    def weight(self) -> int:
        """How much work the call is, one message of a long run being the unit."""
        return 5

    def head(self) -> tuple[Argument, ...]:
        """Return what the calls of a group share: the key count, the key, the arguments."""
        head, _ = _getters(type(self))
        return (1, domain_key(self.domain), *head(self))

    def call(self) -> list[Argument]:
        """Return what is this call's own; a last field that is a tuple has its length before it."""
        _, own = _getters(type(self))
        values = list(own(self))
        if isinstance(values[-1], tuple):
            rest = values.pop()
            values.append(len(rest))
            values.extend(rest)
        return values

    def arguments(self) -> list[Argument]:
        """Return the arguments of a group of one."""
        return [*self.head(), *self.call()]


_names: dict[type[Transition], tuple[str, ...]] = {}  # looked up once for each stub


def _argument_names(stub: type[Transition]) -> tuple[str, ...]:
    if stub not in _names:
        _names[stub] = tuple(field.name for field in fields(stub))[1:]
    return _names[stub]


Getter: TypeAlias = Callable[[Grouped], tuple[Any, ...]]

_getters_of: dict[type[Grouped], tuple[Getter, Getter]] = {}


def _own_names(stub: type[Grouped]) -> tuple[str, ...]:
    return tuple(name for name in _argument_names(stub) if name not in stub.shared)


def _getters(stub: type[Grouped]) -> tuple[Getter, Getter]:
    """Return what gets the shared fields of a call, and its own."""
    found = _getters_of.get(stub)
    if found is None:
        found = _getter(*stub.shared), _getter(*_own_names(stub))
        _getters_of[stub] = found
    return found


def _getter(*names: str) -> Getter:
    get = attrgetter(*names)
    return get if len(names) > 1 else lambda call: (get(call),)


@cache
def source(name: str) -> str:
    """Return a script's text as it stands in its file."""
    return (files("restms_scripts") / f"{name}.lua").read_text("utf-8")


HEADING = "local feed_types, pipe_types = {}, {}"
_HEADER = re.compile(
    r"^local (\w+) = (?:(KEYS|ARGV)\[(\d+)\]|(\d+) -- ARGV from here on(.*))", re.MULTILINE
)
_EACH = ", of each call: "
_INCLUDE = re.compile(r"^--@ include (.+)$", re.MULTILINE)


def check(stub: type[Transition]) -> None:
    """Compare a stub with its script's header; TypeError where they differ."""
    found = [
        (
            name,
            kind or "ARGV",
            int(index or rest),
            each.removeprefix(_EACH) if _EACH in each else rest,
        )
        for name, kind, index, rest, each in _HEADER.findall(source(stub.script()))
    ]
    wanted = [("domain", "KEYS", 1, "")]
    if issubclass(stub, Grouped):
        wanted += [(name, "ARGV", place, "") for place, name in enumerate(stub.shared, start=1)]
        own = ", ".join(_own_names(stub))
        wanted.append(("calls", "ARGV", len(stub.shared) + 1, own))
    else:
        for place, field in enumerate(fields(stub)[1:], start=1):
            rest = str(place) if str(field.type).startswith("tuple") else ""
            wanted.append((field.name, "ARGV", place, rest))
    if found != wanted:
        raise TypeError(f"{stub.__name__} and {stub.script()}.lua differ: {wanted} and {found}")


ONE_KEY = ("domain_enter",)
"""Scripts that touch no key but the domain's own: they cannot break off half done."""


class Library:
    """The scripts as a node runs them, with the Lua of the profiles it speaks."""

    def __init__(self, profiles: Iterable[str], *, guarded: bool = False) -> None:
        """`profiles` is the Lua text of each profile.

        `guarded`: the scripts do nothing while their slot is being moved key
        by key, which is only known in a Redis Cluster.
        """
        functions = (f"function()\n{profile}\nend," for profile in profiles)
        parts = (
            HEADING,
            source("lib_index"),
            "local profiles = {",
            *functions,
            "}",
            source("lib_profiles"),
        )
        self._profiles = "\n".join(parts)
        self.guarded = guarded
        self._guard = source("lib_guard") if guarded else ""
        self._texts: dict[str, str] = {}
        self._digests: dict[str, str] = {}

    def text(self, name: str) -> str:
        """Return a whole script, its includes put in."""
        if name not in self._texts:
            shebang, _, text = source(name).partition("\n")
            guard = "" if name in ONE_KEY else self._guard
            self._texts[name] = f"{shebang}\n{guard}{self._included(text)}"
        return self._texts[name]

    def digest(self, name: str) -> str:
        """Return the SHA-1 that EVALSHA knows a script by."""
        if name not in self._digests:
            # Redis's name for a script, nothing that protects.
            digest = hashlib.sha1(self.text(name).encode(), usedforsecurity=False)
            self._digests[name] = digest.hexdigest()
        return self._digests[name]

    def _included(self, text: str) -> str:
        return _INCLUDE.sub(self._include, text)

    def _include(self, line: re.Match[str]) -> str:
        return "\n".join(
            self._profiles if name == "profiles" else self._included(source(name))
            for name in line[1].split()
        )
