"""A request and its answer, as the resources see them: no web framework here.

Every front of a node makes a Request of what it received and sends what it
gets as an Answer, so the protocol is spoken the same way through all of them.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Self, TypeAlias

import trio

from restms_cluster.model import Condition
from restms_node.conditions import condition
from restms_node.negotiation import Prefer, parse_prefer
from restms_node.principals import ANONYMOUS, Principal
from restms_node.uris import Uris

Headers: TypeAlias = tuple[tuple[str, str], ...]

Stream: TypeAlias = Callable[[], AbstractAsyncContextManager[AsyncIterator[bytes]]]
"""What opens a body that is sent as it comes; it is closed however the sending ends."""

Watched: TypeAlias = Callable[[trio.CancelScope], AbstractContextManager[object]]
"""What is open while a request waits: its front cancels the scope when the client has gone."""

NO_STORE = ("Cache-Control", "no-store")


@dataclass(frozen=True, slots=True)
class Request:
    """A request. Its body, if its method has one, was read whole, unless there is a `stream`.

    Header names are in lower case; a header that came in several lines has
    them joined by commas (RFC 9110 5.3). `stream` yields a body as it comes,
    once, no faster than it is asked for; it raises TooLargeError beyond the
    body's limit and BadRequestError where nothing comes for too long. `query`
    is the raw query string, without its question mark. `peer` is the address of
    whoever sent the request here, a proxy perhaps; `id` what it is called in logs,
    where that is known already; `fields` what its answer is to tell of limits.
    """

    method: str
    path: str
    query: str = field(default="", kw_only=True)
    headers: Mapping[str, str]
    uris: Uris
    body: bytes = b""
    stream: AsyncIterator[bytes] | None = None
    watched: Watched = nullcontext
    principal: Principal = ANONYMOUS
    peer: str | None = None
    id: str = ""
    fields: Headers = ()

    def header(self, name: str) -> str | None:
        """Return a header's value, None where it was not sent."""
        return self.headers.get(name)

    def having(
        self,
        *,
        body: bytes | None = None,
        principal: Principal | None = None,
        uris: Uris | None = None,
        id: str | None = None,
        fields: Headers | None = None,
    ) -> Self:
        """Return the same request with what has become known of it since."""
        # dataclasses.replace() would take four times as long, and this is asked of every request.
        return type(self)(
            self.method,
            self.path,
            self.headers,
            self.uris if uris is None else uris,
            self.body if body is None else body,
            self.stream,
            self.watched,
            self.principal if principal is None else principal,
            self.peer,
            self.id if id is None else id,
            self.fields if fields is None else fields,
            query=self.query,
        )

    @property
    def tag(self) -> str:
        """What marks the private resources that who asks makes: nothing where it is not known."""
        return self.uris.owner or ""

    @property
    def condition(self) -> Condition:
        """What the resource must be like for a change or removal (RFC 9110 13.1)."""
        return condition(self.header("if-match"), self.header("if-unmodified-since"))

    @property
    def prefer(self) -> Prefer:
        """What the client prefers (RFC 7240)."""
        return parse_prefer(self.headers.get("prefer"))


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, headers and a body: whole, or a `stream`, of `length` bytes where that is known.

    A stream that is found to be impossible to go on with raises a RestMSError: the
    connection is then cut, which tells the client that its body is short. `changed` is
    False where a change was asked for, and all was so already.
    """

    status: int
    headers: Headers = ()
    body: bytes = field(default=b"", repr=False)
    stream: Stream | None = None
    length: int | None = None
    changed: bool = True

    def having(self, *headers: tuple[str, str]) -> Self:
        """Return the same answer with more headers."""
        return type(self)(
            self.status,
            (*self.headers, *headers),
            self.body,
            self.stream,
            self.length,
            self.changed,
        )
