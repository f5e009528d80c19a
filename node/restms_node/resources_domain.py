"""The domain: GET describes it, POST makes a feed or a pipe in it."""

import hashlib
from dataclasses import replace
from string import ascii_lowercase

from restms_cluster import domains, feeds, pipes
from restms_cluster.model import Domain
from restms_cluster.names import FeedName, check_name
from restms_node import documents
from restms_node.bodies import posted
from restms_node.descriptions import Description, described, get
from restms_node.exchange import Answer, Request
from restms_node.negotiation import choose
from restms_node.node import Node
from restms_node.rules import PRIVATE, Verb
from restms_node.uris import DomainName


async def describe(node: Node, request: Request, domain: DomainName) -> Answer:
    """GET: the profiles, and the public feeds."""
    return await get(
        node,
        request,
        Description(
            read=lambda: _read(node, request, domain.name),
            tree=lambda found: documents.domain_tree(found, node.broker.profiles, request.uris),
            hints=domains.hints(domain.name),
            private=False,
            mark=_mark if node.gate is not None else lambda _: "",
        ),
    )


async def create(node: Node, request: Request, domain: DomainName) -> Answer:
    """POST: 201 and the new feed or pipe, or 200 and the feed that was there already."""
    representation = choose(request.header("accept"))
    draft = documents.domain_post(posted(request), node.settings.limits)
    if isinstance(draft, documents.PipeDraft):
        node.require_some(request, Verb.SUBSCRIBE, domain.name)
        pipe = await pipes.create(
            node.broker, domain.name, draft.type, draft.title, tag=request.tag
        )
        tree, version = documents.pipe_tree(pipe, request.uris), pipe.version
        location, status = request.uris.resource(pipe.token), 201
    else:
        if draft.name:
            check_name(draft.name, node.settings.limits.name_length)
        node.require(request, Verb.CONFIGURE, FeedName(domain.name, draft.name or PRIVATE))
        letters = None
        if draft.dead_letter:
            letters = request.uris.feed_at(request.path, draft.dead_letter, "A feed's dead_letter")
            node.require(request, Verb.PUBLISH, letters)
        feed, new = await feeds.create(
            node.broker,
            domain.name,
            draft.name,
            draft.type,
            draft.title,
            draft.license,
            dead_letter=letters,
            dedup=draft.dedup,
            tag=request.tag,
        )
        feed = node.seen(request, feed)
        tree, version = documents.feed_tree(feed, request.uris), feed.version
        location, status = request.uris.feed(feed.name), 201 if new else 200
    answer = described(status, representation, version, tree)
    return answer.having(("Location", location))


async def _read(node: Node, request: Request, name: str) -> Domain:
    """Return the domain with those feeds only with which who asks may do something."""
    domain, gate = await domains.read(node.broker, name), node.gate
    if gate is None:
        return domain
    feeds = [
        node.seen(request, feed)
        for feed in domain.feeds
        if gate.may(request.principal, Verb.INSPECT, feed.name)
    ]
    return replace(domain, feeds=tuple(feeds))


def _mark(seen: Domain) -> str:
    # Who asks with other credentials, or after rules have changed, must not be told that he
    # knows the list.
    digest = hashlib.sha256(repr(seen.feeds).encode()).hexdigest()[:8]
    return "".join(ascii_lowercase[int(digit, 16)] for digit in digest)
