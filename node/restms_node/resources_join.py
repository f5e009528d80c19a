"""The join: GET describes it, DELETE takes it out. It never changes."""

from restms_cluster import joins
from restms_cluster.names import Token
from restms_node import documents
from restms_node.descriptions import Description, get
from restms_node.exchange import Answer, Request
from restms_node.node import Node


async def describe(node: Node, request: Request, token: Token) -> Answer:
    """GET: the feed, and what the pipe wants from it."""
    return await get(
        node,
        request,
        Description(
            read=lambda: joins.read(node.broker, token),
            tree=lambda found: documents.join_tree(found, request.uris),
            hints=joins.hints(token),
        ),
    )


async def remove(node: Node, request: Request, token: Token) -> Answer:
    """DELETE: the feed's messages no longer reach the pipe by this join."""
    found = await joins.delete(node.broker, token, request.condition)
    return Answer(200, changed=found)
