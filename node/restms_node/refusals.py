"""What becomes of a request that is refused: an answer, a name to ask about it, a line in the log.

The name is the client's or its proxy's own (X-Request-Id), or one that is made up.
"""

import random
import re

from restms_cluster.errors import RestMSError
from restms_node.audit import AUDITED
from restms_node.exchange import Answer, Request
from restms_node.node import Node
from restms_node.problems import problem

REQUEST_ID = "X-Request-Id"

_SANE = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}", re.ASCII)


def request_id(request: Request) -> str:
    """Return what a request is called; made up at each call where nobody gave it a name."""
    if request.id:
        return request.id
    given = request.header("x-request-id")
    if given is not None and _SANE.fullmatch(given):
        return given
    return _made_up()


def _made_up() -> str:
    return f"{random.getrandbits(64):016x}"  # it is no secret


def refused(node: Node, request: Request | None, error: RestMSError) -> Answer:
    """Answer with an error, and keep what the audit log is to tell of.

    No request is one that could not even be read.
    """
    node.traffic.refusals[error.word] += 1
    named = _made_up() if request is None else request_id(request)
    if node.audit is not None and request is not None and error.status in AUDITED:
        node.audit.refused(
            request,
            named,
            status=error.status,
            reason=getattr(error, "reason", error.word),
            verb=getattr(error, "verb", ""),
            text=error.text,
        )
    fields = () if request is None else request.fields
    return problem(error).having((REQUEST_ID, named), *fields)
