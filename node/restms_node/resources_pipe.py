"""The pipe: GET lists its joins and messages, POST makes a join, PUT and DELETE work on it."""

from restms_cluster import joins, pipes
from restms_cluster.names import Token
from restms_node import batches, documents, queries, streams
from restms_node.bodies import posted
from restms_node.descriptions import Description, described, get
from restms_node.exchange import Answer, Request
from restms_node.negotiation import choose
from restms_node.node import Node
from restms_node.rules import Verb


async def describe(node: Node, request: Request, token: Token) -> Answer:
    """GET: the joins, the messages, and last the asynclet; or whole messages."""
    most = queries.numbers(request.query, ("messages",)).get("messages")
    if most is not None:
        return await batches.read(node, request, token, most)
    media_type = streams.chosen(request.header("accept"))
    if media_type is not None:
        return await streams.read(node, request, token, media_type)
    return await get(
        node,
        request,
        Description(
            read=lambda: pipes.read(node.broker, token),
            tree=lambda found: documents.pipe_tree(found, request.uris),
            hints=pipes.hints(token),
        ),
    )


async def change(node: Node, request: Request, token: Token) -> Answer:
    """PUT: a new title."""
    representation = choose(request.header("accept"))
    if request.body:
        draft = documents.pipe_change(posted(request), node.settings.limits)
        await pipes.update(
            node.broker,
            token,
            title=draft.title,
            kind=draft.type or "",
            condition=request.condition,
        )
        found = await pipes.read(node.broker, token)
        tree = documents.pipe_tree(found, request.uris)
        return described(200, representation, found.version, tree)
    await pipes.update(node.broker, token, condition=request.condition)
    return Answer(204)


async def remove(node: Node, request: Request, token: Token) -> Answer:
    """DELETE: the pipe, its joins and its messages."""
    found = await pipes.delete(node.broker, token, request.condition)
    return Answer(200, changed=found)


async def join(node: Node, request: Request, token: Token) -> Answer:
    """POST: a join, 201; or 200 and the one that the pipe has already."""
    representation = choose(request.header("accept"))
    draft = documents.join_post(posted(request), node.settings.limits)
    feed = request.uris.feed_at(request.path, draft.feed, "A join's feed")
    node.require(request, Verb.SUBSCRIBE, feed)
    made, new = await joins.create(
        node.broker, token, feed, draft.type, draft.address, draft.headers
    )
    tree = documents.join_tree(made, request.uris)
    answer = described(201 if new else 200, representation, made.version, tree)
    return answer.having(("Location", request.uris.resource(made.token)))
