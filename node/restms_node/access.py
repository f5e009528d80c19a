"""Who comes in: it tells by a request's credentials which principal makes it.

Authenticators (authenticator_*.py) look at credentials; this is what they have in
common: which of them is asked, what is remembered, and what is answered. What
a principal may do is another question.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

import trio

from restms_cluster.errors import BadRequestError, UnauthorizedError
from restms_node.principals import ANONYMOUS, Principal
from restms_node.remembered import Remembered

AUTHORIZATION = "authorization"
REALM = 'realm="restms"'
CERTIFICATE = f"Certificate {REALM}"
"""HTTP has no scheme for what a proxy has seen in TLS, but a 401 has to have a challenge."""

_log = logging.getLogger("restms.access")


class Authenticator(Protocol):
    """One way of knowing who makes a request, by the header Authorization.

    `scheme` is that of its credentials, in lower case; `challenge` the value of
    WWW-Authenticate that asks for them (RFC 9110 11).
    """

    scheme: str
    challenge: str

    async def check(self, credentials: str) -> Principal | None:
        """Return whose credentials those are; None where they are wrong.

        Raises UnavailableError where that cannot be told now.
        """
        ...

    async def run(self, remembered: Remembered) -> None:
        """Keep what the checks rest on up to date, and have all forgotten when it changes."""


class Forwarded(Protocol):
    """What tells who makes a request by a header that only trusted proxies may send."""

    header: str

    def trusts(self, peer: str | None) -> bool:
        """Tell whether the header is believed of a client with this address."""
        ...

    def check(self, value: str) -> Principal | None:
        """Return whom the header names; None where it is not well-formed, or out of date."""
        ...


class Access:
    """The authenticators of a node. Without any, everybody is ANONYMOUS."""

    def __init__(
        self, authenticators: Sequence[Authenticator] = (), forwarded: Forwarded | None = None
    ) -> None:
        self._authenticators = tuple(authenticators)
        self._forwarded = forwarded
        self._remembered = Remembered()
        self._warned = False
        self.open = not self._authenticators and forwarded is None
        """Whether there is no authenticator."""
        # Two lines of one of these are two answers to the question who it is.
        self.once = frozenset((AUTHORIZATION, *((forwarded.header,) if forwarded else ())))
        """The headers, in lower case, of which a request must not have more than one line."""
        self.challenges = tuple(dict.fromkeys(each.challenge for each in self._authenticators))
        """The values of WWW-Authenticate that a 401 has, one for each scheme."""
        if forwarded and not self.challenges:
            self.challenges = (CERTIFICATE,)

    def known(self, headers: Mapping[str, str], peer: str | None) -> Principal | None:
        """Return who makes a request, if that can be told at once; else ask principal().

        It costs no more than a look into a table, and never waits. Header names
        are in lower case; `peer` is the address of whoever sent the request to
        this node, a proxy perhaps.
        """
        if self.open:
            return ANONYMOUS
        authorization = headers.get(AUTHORIZATION)
        if authorization is not None:
            return self._remembered.get(self._remembered.mac(authorization))
        if self._forwarded is None or self._forwarded.header not in headers:
            return ANONYMOUS
        if self._forwarded.trusts(peer):
            return self._forwarded.check(headers[self._forwarded.header])
        self._warn_of_strangers()
        return ANONYMOUS

    async def principal(self, headers: Mapping[str, str], peer: str | None) -> Principal:
        """Return who makes a request: ANONYMOUS where nobody is named.

        Raises UnauthorizedError for credentials that are wrong, whatever they
        are wrong in, and UnavailableError where that cannot be told now.
        """
        known = self.known(headers, peer)
        if known is not None:
            return known
        authorization = headers.get(AUTHORIZATION)
        found = None if authorization is None else await self._checked(authorization)
        if found is None:
            raise UnauthorizedError("The credentials are not right.", self.challenges)
        return found

    async def run(self) -> None:
        """Keep what the authenticators rest on up to date, until cancelled."""
        async with trio.open_nursery() as nursery:
            for authenticator in self._authenticators:
                nursery.start_soon(authenticator.run, self._remembered)

    async def _checked(self, authorization: str) -> Principal | None:
        scheme, _, credentials = authorization.partition(" ")
        scheme, credentials = scheme.lower(), credentials.strip(" ")
        generation = self._remembered.generation
        for authenticator in self._authenticators:
            if authenticator.scheme == scheme:
                principal = await authenticator.check(credentials)
                if principal is not None:
                    mac = self._remembered.mac(authorization)
                    self._remembered.keep(mac, principal, generation)
                    return principal
        return None

    def _warn_of_strangers(self) -> None:
        # Once is enough to tell an operator that a proxy is missing in the list.
        if not self._warned and self._forwarded is not None:
            self._warned = True
            _log.warning(
                "a client that is no trusted proxy sent the header %s, which is ignored",
                self._forwarded.header,
            )


def more_than_once(name: str) -> BadRequestError:
    """Return what a request is refused with that has several lines of a header of `once`."""
    return BadRequestError(f"The request has more than one {name.title()}.")
