"""Letting a request in, before its body is read: the same for both fronts."""

from restms_cluster.errors import RestMSError, UnauthorizedError
from restms_cluster.names import FeedName, Token
from restms_node.audit import Audit
from restms_node.exchange import Request
from restms_node.node import Node
from restms_node.principals import Principal
from restms_node.refusals import request_id
from restms_node.uris import Target, Uris


async def known(node: Node, request: Request) -> Request:
    """Return a request with who makes it.

    Raises UnauthorizedError for wrong credentials, TooManyRequestsError for very many.
    """
    principal = node.access.known(request.headers, request.peer)
    if principal is None:
        principal = await _checked(node, request)
    return request.having(principal=principal)


async def counted(node: Node, request: Request) -> Request:
    """Return a request of somebody known, counted to what he may do.

    Raises TooManyRequestsError.
    """
    limiter = node.limiter
    if limiter is None or not limiter.on:
        return request
    return request.having(fields=await limiter.take_request(request))


async def _checked(node: Node, request: Request) -> Principal:
    # Counted first and taken back, or many guesses at a time would pass together.
    if node.limiter is not None:
        await node.limiter.begin_login(request)
    try:
        principal = await node.access.principal(request.headers, request.peer)
    except UnauthorizedError:
        raise
    except RestMSError:
        await _forget_login(node, request)
        raise
    await _forget_login(node, request)
    return principal


async def _forget_login(node: Node, request: Request) -> None:
    if node.limiter is not None:
        await node.limiter.end_login(request)


def admitted(node: Node, request: Request, target: Target) -> Request:
    """Return a request for a resource as it is for who asks.

    Raises UnauthorizedError or ForbiddenError where no rule allows it.
    """
    if node.gate is None:
        return request
    uris = node.gate.admit(request.principal, request.method, target, request.uris)
    request = request.having(uris=uris, id=request_id(request))
    if node.audit is not None and _is_anothers(uris, request.method, target):
        anothers(node.audit, request, request.path)
    return request


def anothers(audit: Audit, request: Request, uri: str) -> None:
    """Tell the audit log that a request is about what is somebody else's.

    The answer will be what it is where there is nothing.
    """
    audit.refused(request, request.id, status=404, reason="not_owner", uri=uri)


def _is_anothers(uris: Uris, method: str, target: Target) -> bool:
    match target:
        case FeedName():
            return method not in ("POST", "OPTIONS") and uris.own_feed(target) != target
        case Token():
            return method != "OPTIONS" and uris.own(target) is not target
    return False
