"""Errors as a client sees them: a status and one plain sentence (RestTL)."""

from restms_cluster.errors import (
    RestMSError,
    TooManyRequestsError,
    UnauthorizedError,
    UnsupportedCodingError,
)
from restms_node.exchange import NO_STORE, Answer

TEXT = ("Content-Type", "text/plain; charset=utf-8")


def sentence(status: int, text: str) -> Answer:
    """Answer with a status and one sentence."""
    return Answer(status, (TEXT, NO_STORE), f"{text}\n".encode())


def problem(error: RestMSError) -> Answer:
    """Answer with an error's status, word and sentence."""
    answer = sentence(error.status, error.text).having(("RestMS-Error", error.word))
    if isinstance(error, UnsupportedCodingError):
        accepted = ", ".join(error.known) or "identity"
        answer = answer.having(("Accept-Encoding", accepted))
    if isinstance(error, UnauthorizedError):
        answer = answer.having(*(("WWW-Authenticate", value) for value in error.challenges))
    if isinstance(error, TooManyRequestsError):
        answer = answer.having(*error.fields)
    if error.retry_after is not None:
        answer = answer.having(("Retry-After", str(error.retry_after)))
    return answer
