"""The request that a task is at work on, so that each line of the log can bear its name.

The name is the client's or its proxy's own (X-Request-Id), or one that is made up, and only
when somebody asks for it: so what is logged of nothing costs the lane two assignments.
Tasks that a request starts have its name too.
"""

import random
import re
from collections.abc import Mapping
from contextvars import ContextVar

REQUEST_ID = "X-Request-Id"

_SANE = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}", re.ASCII)
_NOTHING: Mapping[str, str] = {}


class Named:
    """Holds the headers of one request after another; their names are in lower case.

    `principal` is who makes it, where a front knows of it and another part asks;
    `trace` is the trace that it belongs to, where the node traces.
    """

    __slots__ = ("_headers", "_name", "principal", "trace")

    def __init__(self) -> None:
        self.principal = self.trace = ""
        self._headers: Mapping[str, str] | None = None
        self._name = ""

    def begin(self, headers: Mapping[str, str] = _NOTHING) -> None:
        """Take up a request."""
        self._headers = headers
        self._name = self.principal = self.trace = ""

    def end(self) -> None:
        """Be done with it."""
        self._headers = None

    @property
    def name(self) -> str:
        """What the request is called; empty where there is none."""
        if self._headers is None:
            return ""
        if not self._name:
            self._name = name_of(self._headers)
        return self._name


_current: ContextVar[Named | None] = ContextVar("named", default=None)


def held() -> Named:
    """Return a new holder, which is the one of this task from now on."""
    named = Named()
    _current.set(named)
    return named


def made_by(principal: str) -> None:
    """Tell who makes the request that this task is at work on."""
    named = _current.get()
    if named is not None:
        named.principal = principal


def traced(trace: str) -> None:
    """Tell which trace the request belongs to that this task is at work on."""
    named = _current.get()
    if named is not None:
        named.trace = trace


def trace() -> str:
    """Return which trace that is; empty where it is not traced."""
    named = _current.get()
    return "" if named is None else named.trace


def name() -> str:
    """Return what the request is called that this task is at work on; empty without one."""
    named = _current.get()
    return "" if named is None else named.name


def name_of(headers: Mapping[str, str]) -> str:
    """Return what a request with these headers is called; made up at each call if they say nothing.

    What is no sane name is none.
    """
    given = headers.get("x-request-id")
    if given is not None and _SANE.fullmatch(given):
        return given
    return made_up()


def made_up() -> str:
    """Return a name for a request that has none."""
    return f"{random.getrandbits(64):016x}"  # it is no secret
