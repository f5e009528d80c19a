"""Which resource answers which method: the whole table of section 1 of docs/protocol.md."""

import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from restms_cluster.errors import BadRequestError, ForbiddenError, RestMSError
from restms_cluster.names import FeedName, Kind, Token
from restms_node import (
    resources_content,
    resources_domain,
    resources_feed,
    resources_join,
    resources_message,
    resources_pipe,
    resources_profile,
)
from restms_node.exchange import Answer, Request
from restms_node.negotiation import content_representation
from restms_node.node import Node
from restms_node.refusals import REQUEST_ID, refused, request_id
from restms_node.sequences import is_sequence
from restms_node.uris import DomainName, ProfileName, Target

Handler: TypeAlias = Callable[[Node, Request, Any], Awaitable[Answer]]
Methods: TypeAlias = Mapping[str, Handler]

DOMAIN: Methods = {"GET": resources_domain.describe, "POST": resources_domain.create}
PROFILE: Methods = {"GET": resources_profile.page}
FEED: Methods = {
    "GET": resources_feed.describe,
    "POST": resources_feed.post,
    "PUT": resources_feed.change,
    "DELETE": resources_feed.remove,
}
PIPE: Methods = {
    "GET": resources_pipe.describe,
    "POST": resources_pipe.join,
    "PUT": resources_pipe.change,
    "DELETE": resources_pipe.remove,
}
JOIN: Methods = {"GET": resources_join.describe, "DELETE": resources_join.remove}
MESSAGE: Methods = {"GET": resources_message.describe, "DELETE": resources_message.acknowledge}
CONTENT: Methods = {"GET": resources_content.fetch, "DELETE": resources_content.remove}

EVENTS: Mapping[tuple[str, int], str] = {
    ("POST", 201): "created",
    ("PUT", 200): "changed",
    ("PUT", 204): "changed",
    ("DELETE", 200): "deleted",
}
"""What the audit log calls a change of a feed, a pipe or a join, by method and status."""


def methods(target: Target) -> Methods:
    """Return what may be done with a resource."""
    match target:
        case DomainName():
            return DOMAIN
        case ProfileName():
            return PROFILE
        case FeedName():
            return FEED
        case Token(kind=Kind.JOIN):
            return JOIN
        case Token(kind=Kind.CONTENT):
            return CONTENT
        case Token(number=None):
            return PIPE
        case Token(content=None):
            return MESSAGE
    return CONTENT


def route(target: Target) -> str:
    """Return the noun that a resource is, as the metrics call it."""
    match target:
        case DomainName():
            return "domain"
        case ProfileName():
            return "profile"
        case FeedName():
            return "feed"
        case Token(kind=Kind.JOIN):
            return "join"
        case Token(kind=Kind.PIPE, number=None):
            return "pipe"
        case Token(kind=Kind.PIPE, content=None):
            return "message"
    return "content"


def allowed(table: Methods) -> str:
    """Return the value of Allow (RFC 9110 10.2.1)."""
    return ", ".join((*table, "HEAD", "OPTIONS"))


def body_limit(node: Node, method: str, target: Target, content_type: str | None) -> int:
    """Return how many bytes a request's body may have: a document's limit, or a content's."""
    limits = node.settings.limits
    if takes_in(method, target, content_type):
        return sys.maxsize
    if stages(method, target, content_type):
        return limits.content_bytes
    return limits.document_bytes


def streamed(method: str, target: Target, content_type: str | None) -> bool:
    """Tell whether a request's body is read as it comes, because it may have any size."""
    return takes_in(method, target, content_type) or stages(method, target, content_type)


def takes_in(method: str, target: Target, content_type: str | None) -> bool:
    """Tell whether a request is a stream of messages, whose body is as long as it likes."""
    return method == "POST" and isinstance(target, FeedName) and is_sequence(content_type)


def stages(method: str, target: Target, content_type: str | None) -> bool:
    """Tell whether a request stages its body as a content."""
    return (
        method == "POST"
        and isinstance(target, FeedName)
        and content_representation(content_type) is None
    )


async def dispatch(node: Node, request: Request) -> Answer:
    """Answer a request that the gate let in. Never raises what a client could cause."""
    try:
        target = request.uris.target(request.path)
        answer = await _handled(node, request, target)
    except RestMSError as error:
        return refused(node, request, error)
    event = EVENTS.get((request.method, answer.status)) if answer.changed else None
    if node.audit is None or event is None or not _changes(request.method, target):
        return answer
    named, uri = request_id(request), dict(answer.headers).get("Location")
    if uri is not None:
        target = request.uris.reference(request.path, uri)
    node.audit.changed(
        request,
        named,
        event=event,
        noun=_noun(target),
        uri=(uri or request.path).removeprefix(request.uris.base),
        status=answer.status,
    )
    return answer.having((REQUEST_ID, named))


async def _handled(node: Node, request: Request, target: Target) -> Answer:
    table = methods(target)
    if request.method == "OPTIONS":
        return Answer(200, (("Allow", allowed(table)),))
    handler = table.get("GET" if request.method == "HEAD" else request.method)
    if handler is None:
        refusal = ForbiddenError(f"{request.method} is not allowed on this resource.")
        return refused(node, request, refusal).having(("Allow", allowed(table)))
    if request.query and request.method in ("PUT", "DELETE"):
        # Who deletes {pipe}?messages=2 does not mean the pipe.
        raise BadRequestError(f"{request.method} takes no query; nothing was changed.")
    if isinstance(target, FeedName) and request.method != "POST":
        target = request.uris.own_feed(target)
    return await handler(node, request, target)


def _changes(method: str, target: Target) -> bool:
    """Tell whether a request makes, changes or deletes a feed, a pipe or a join."""
    match target:
        case DomainName():
            return method == "POST"
        case FeedName():
            return method in ("PUT", "DELETE")
        case Token(kind=Kind.PIPE | Kind.JOIN, number=None):
            return method in ("POST", "PUT", "DELETE")
    return False


def _noun(target: Target) -> str:
    match target:
        case Token(kind=Kind.PIPE):
            return "pipe"
        case Token(kind=Kind.JOIN):
            return "join"
    return "feed"
