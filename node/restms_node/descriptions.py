"""Answers that describe a resource, to a plain GET, a conditional one, or one that waits.

RestTL: every description carries ETag, Last-Modified and Date-Modified; a GET
may ask for a change (If-None-Match) or wait for one (When-None-Match).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from restms_node import conditions
from restms_node.exchange import NO_STORE, Answer, Headers, Request
from restms_node.negotiation import choose
from restms_node.node import Node
from restms_node.representations import Representation, Tree

VARY = ("Vary", "Accept, Accept-Encoding")
NO_CACHE = ("Cache-Control", "no-cache")
PRIVATE = ("Cache-Control", "private, no-cache")


class Versioned(Protocol):
    """Anything that has a version."""

    @property
    def version(self) -> int:
        """The time of the last change, in microseconds."""
        ...


T = TypeVar("T", bound=Versioned)


@dataclass(frozen=True, slots=True)
class Description(Generic[T]):
    """How to read a resource, how to describe it, and what hints at its changes.

    Nobody may store the description of a private resource: its URIs are capabilities.
    `mark` is what tells one version's descriptions apart, in letters, where they differ.
    """

    read: Callable[[], Awaitable[T]]
    tree: Callable[[T], Tree]
    hints: str
    private: bool = True
    mark: Callable[[T], str] = lambda _: ""


async def get(node: Node, request: Request, description: Description[T]) -> Answer:
    """Answer a GET: the description, 304 where the client has it, or after a wait 204."""
    representation = choose(request.header("accept"))
    when_none_match = request.header("when-none-match")
    when_modified_after = request.header("when-modified-after")

    async def changed() -> T | None:
        resource = await description.read()
        etag = conditions.etag(resource.version, representation.suffix + description.mark(resource))
        if conditions.changed_since(resource.version, etag, when_none_match, when_modified_after):
            return resource
        return None

    waits = when_none_match is not None or when_modified_after is not None
    if waits:
        seconds = node.wait_seconds(request)
        found = await node.until(request, description.hints, changed)
        if found is None:
            return waited(seconds)
        resource = found
    else:
        resource = await description.read()
    suffix = representation.suffix + description.mark(resource)
    headers = validators(resource.version, suffix)
    if unchanged(request, resource.version, suffix):
        answer = Answer(304, (*headers, VARY))
    else:
        answer = document(200, representation, description.tree(resource)).having(*headers)
    if waits or description.private:
        return answer.having(NO_STORE)
    if request.uris.owner is None:
        return answer.having(NO_CACHE)
    return answer.having(PRIVATE, ("Vary", "Authorization"))  # it depends on who asks


def described(status: int, representation: Representation, version: int, tree: Tree) -> Answer:
    """Answer with the description of a resource as it is in this version."""
    headers = validators(version, representation.suffix)
    return document(status, representation, tree).having(*headers)


def document(status: int, representation: Representation, tree: Tree) -> Answer:
    """Answer with a document."""
    content_type = ("Content-Type", representation.media_type)
    return Answer(status, (content_type, VARY), representation.write(tree))


def validators(version: int, suffix: str) -> Headers:
    """Return the headers that tell a client which version it has."""
    date = conditions.http_date(version)
    return (
        ("ETag", conditions.etag(version, suffix)),
        ("Last-Modified", date),
        ("Date-Modified", date),
    )


def unchanged(request: Request, version: int, suffix: str) -> bool:
    """Tell whether the client said that it has this version."""
    return conditions.not_modified(
        version,
        conditions.etag(version, suffix),
        request.header("if-none-match"),
        request.header("if-modified-since"),
    )


def waited(seconds: int) -> Answer:
    """Answer that the wait is over and nothing has come."""
    return Answer(204, (("Preference-Applied", f"wait={seconds}"), NO_STORE))
