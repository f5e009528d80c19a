"""What becomes of a request that is refused: an answer, its name, a line in the audit log."""

from restms_cluster.errors import RestMSError
from restms_node import request_names
from restms_node.audit import AUDITED
from restms_node.exchange import Answer, Request
from restms_node.node import Node
from restms_node.problems import problem
from restms_node.request_names import REQUEST_ID

__all__ = ["REQUEST_ID", "any_name", "refused", "request_id"]


def request_id(request: Request) -> str:
    """Return what a request is called: in the log, and in the answer."""
    return request.id or request_names.name() or request_names.name_of(request.headers)


def any_name() -> str:
    """Return what a request is called of which perhaps nothing could be read."""
    return request_names.name() or request_names.made_up()


def refused(node: Node, request: Request | None, error: RestMSError) -> Answer:
    """Answer with an error, and keep what the audit log is to tell of.

    No request is one that could not even be read.
    """
    node.traffic.refusals[error.word] += 1
    named = any_name() if request is None else request_id(request)
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
