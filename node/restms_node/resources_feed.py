"""The feed: POST publishes messages or stages a content; GET, PUT and DELETE work on the feed."""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote

from restms_cluster import feeds, messages, uploads
from restms_cluster.errors import BadRequestError, ForbiddenError, NotFoundError
from restms_cluster.model import Draft, Embedded, Routed, Sealed, Staged
from restms_cluster.names import FeedName, Token
from restms_node import documents, documents_sealed
from restms_node.admission import anothers
from restms_node.bodies import pieces, posted, posted_messages
from restms_node.descriptions import Description, described, document, get
from restms_node.exchange import NO_STORE, Answer, Headers, Request
from restms_node.intake import Intake, survived
from restms_node.negotiation import choose, content_representation, mime_type
from restms_node.node import Node
from restms_node.representations import Representation
from restms_node.rules import Verb
from restms_node.sequences import is_sequence
from restms_node.trees import Element

if TYPE_CHECKING:
    from restms_node.tracing import Publishing

OCTETS = "application/octet-stream"
KEY_LENGTH = 255


async def describe(node: Node, request: Request, feed: FeedName) -> Answer:
    """GET: the feed's name, type, title and license."""
    return await get(
        node,
        request,
        Description(
            read=lambda: feeds.read(node.broker, feed),
            tree=lambda found: documents.feed_tree(node.seen(request, found), request.uris),
            hints=feeds.hints(feed),
            private=feed.token is not None,
        ),
    )


async def change(node: Node, request: Request, feed: FeedName) -> Answer:
    """PUT: a new title, license, dead-letter feed or window for repeats."""
    representation = choose(request.header("accept"))
    if request.body:
        draft = documents.feed_change(posted(request), node.settings.limits)
        if draft.name and draft.name not in (feed.key, str(feed.token)):
            raise ForbiddenError("A feed's name cannot be changed.")
        found = await feeds.update(
            node.broker,
            feed,
            title=draft.title,
            license=draft.license,
            dead_letter=_dead_letter(node, request, draft.dead_letter),
            dedup=draft.dedup,
            kind=draft.type or "",
            condition=request.condition,
            by=_by(request),
        )
        tree = documents.feed_tree(node.seen(request, found), request.uris)
        return described(200, representation, found.version, tree)
    await feeds.update(node.broker, feed, condition=request.condition, by=_by(request))
    return Answer(204)


async def remove(node: Node, request: Request, feed: FeedName) -> Answer:
    """DELETE: the feed and its joins."""
    found = await feeds.delete(node.broker, feed, request.condition, by=_by(request))
    return Answer(200, changed=found)


async def post(node: Node, request: Request, feed: FeedName) -> Answer:
    """POST: a document or a sequence publishes messages, anything else is staged as a content."""
    content_type = request.header("content-type")
    if is_sequence(content_type):
        return await take_in(node, request, feed)
    if content_representation(content_type) is None:
        kind = OCTETS if content_type is None else mime_type(content_type)
        token = await uploads.stage(
            node.broker,
            feed,
            kind,
            pieces(node, request),
            pause_seconds=node.settings.body_seconds,
            key=_key(request),
            tag=request.tag,
        )
        return Answer(201, (("Location", request.uris.resource(token)),))
    return await publish(node, request, feed)


async def publish(node: Node, request: Request, feed: FeedName) -> Answer:
    """Route the posted messages; the answer has the number of joins that each one reached."""
    if node.tracing is None:
        return await _publish(node, request, feed)
    with node.tracing.publishing(request, feed) as traced:
        return await _publish(node, request, feed, traced)


async def _publish(
    node: Node, request: Request, feed: FeedName, traced: "Publishing | None" = None
) -> Answer:
    representation = choose(request.header("accept"))
    drafts = posted_messages(request, node.settings.limits, sealed=_sealed(request))
    fields: Headers = ()
    if node.limiter is not None and node.limiter.on:
        fields = await node.limiter.take_messages(request, feed, len(drafts))
    published = [_draft(node, request, draft) for draft in drafts]
    carried = () if traced is None else traced.carried(published)
    receipt = await messages.publish(node.broker, feed, published, _key(request), carried)
    if request.prefer.minimal:
        answer = Answer(200, (("Preference-Applied", "return=minimal"),))
    elif receipt.counted:
        answer = _counts(representation, receipt.routed)
    else:
        answer = Answer(200)  # 4/AMQP9: an empty document
    return answer.having(NO_STORE, *_full(receipt.routed), *survived(receipt.level), *fields)


def _counts(representation: Representation, routed: Sequence[Routed]) -> Answer:
    if len(routed) == 1:
        return _count(representation, routed[0])
    return document(200, representation, documents.routed_tree(routed))


@lru_cache(maxsize=256)
def _count(representation: Representation, routed: Routed) -> Answer:
    # Of one message there are so few different answers that none is written twice.
    return document(200, representation, documents.routed_tree((routed,)))


async def take_in(node: Node, request: Request, feed: FeedName) -> Answer:
    """Route a stream of messages as it arrives; the answer has their number."""
    if _key(request):
        raise BadRequestError(
            "A stream of messages has no Idempotency-Key; give its messages a message_id each."
        )

    def draft(item: Element, blob: bytes) -> Draft | Sealed:
        limits = node.settings.limits
        return _draft(node, request, documents_sealed.read_message(item, blob, limits, sealed))

    sealed = _sealed(request)
    return await Intake(node, request, feed, draft).answer(pieces(node, request))


def _by(request: Request) -> str:
    """Return what tells whether the feed is his who asks, where that matters."""
    owner = request.uris.owner
    return feeds.ANYBODY if owner is None else owner


def _dead_letter(node: Node, request: Request, href: str | None) -> FeedName | Literal[""] | None:
    """Return the feed at that URI; an empty text takes it away, None leaves it."""
    if not href:
        return None if href is None else ""
    letters = request.uris.feed_at(request.path, href, "A feed's dead_letter")
    node.require(request, Verb.PUBLISH, letters)
    return letters


def _sealed(request: Request) -> frozenset[str]:
    """Return the properties of messages whose bytes may be kept as they came."""
    # Where it matters who asks, it is to be seen whose name a message bears.
    return documents_sealed.CARRIED if request.uris.owner is None else documents_sealed.UNSIGNED


def _key(request: Request) -> str:
    """Return the client's key for this request, by which a repeat of it is known."""
    key = request.header("idempotency-key") or ""
    if len(key) > KEY_LENGTH:
        raise BadRequestError(f"An Idempotency-Key has at most {KEY_LENGTH} characters.")
    # Each has keys of his own. No header has a line break, so a key ends at the last one.
    return f"{key}\n{request.tag}" if key and request.tag else key


def _full(routed: Sequence[Routed]) -> tuple[tuple[str, str], ...]:
    # Said in a header as well, for the answer need not have a document.
    full = sum(message.full for message in routed)
    return (("RestMS-Full", str(full)),) if full else ()


def _draft(node: Node, request: Request, draft: documents.MessageDraft | Sealed) -> Draft | Sealed:
    if isinstance(draft, Sealed):
        return draft
    if request.uris.owner is not None and "user_id" in draft.properties:
        _check_user(request, draft.properties["user_id"])
    resolved = tuple(
        content if isinstance(content, Embedded) else Staged(_staged(node, request, content))
        for content in draft.contents
    )
    return Draft(draft.properties, draft.headers, resolved, draft.terms)


def _check_user(request: Request, user_id: str) -> None:
    """Refuse a message that bears another's name (as AMQP 0-9-1 brokers do)."""
    if user_id != request.principal.name:
        raise ForbiddenError("A message's user_id is the name of who publishes it, or absent.")


def _staged(node: Node, request: Request, href: str) -> Token:
    target = request.uris.reference(request.path, href)
    if not isinstance(target, Token):
        raise NotFoundError("A content's href is not the URI of a staged content.")
    if node.audit is not None and str(target) not in (plain := unquote(href)):
        anothers(node.audit, request, plain)
    return target
