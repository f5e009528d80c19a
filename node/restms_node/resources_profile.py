"""The profile's page, which a domain's description links to."""

from restms_cluster.errors import NotFoundError
from restms_node.exchange import Answer, Request
from restms_node.node import Node
from restms_node.uris import ProfileName


async def page(node: Node, _: Request, wanted: ProfileName) -> Answer:
    """GET: what the profile's types do, in plain text."""
    for profile in node.broker.profiles:
        if profile.name == wanted.name:
            content_type = ("Content-Type", "text/plain; charset=utf-8")
            return Answer(200, (content_type,), profile.text.encode())
    raise NotFoundError("This server has no such profile.")
