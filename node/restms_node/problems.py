"""Errors as a client sees them: a status and one plain sentence (RestTL)."""

from restms_cluster.errors import (
    RestMSError,
    TooManyRequestsError,
    UnauthorizedError,
    UnsupportedCodingError,
)
from restms_node.exchange import NO_STORE, Answer
from restms_node.front import ALWAYS

TEXT = ("Content-Type", "text/plain; charset=utf-8")


def sentence(status: int, text: str) -> Answer:
    """Answer with a status and one sentence."""
    return Answer(status, (TEXT, NO_STORE), f"{text}\n".encode())


REFUSALS = {
    400: ("bad_request", "The request is not well-formed HTTP/1.1."),
    431: ("head_too_large", "The head of the request is over its limit."),
    500: ("internal", "The server met an unexpected error."),
    501: ("unsupported_coding", "The server knows no such Transfer-Encoding."),
}
"""What the parser of HTTP refuses, before there is a request that could be answered."""


def refusal(status: int) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Return status, headers and body of an answer to what is no request."""
    status = status if status in REFUSALS else 400
    word, text = REFUSALS[status]
    answer = sentence(status, text).having(("RestMS-Error", word), *ALWAYS)
    length = ("Content-Length", str(len(answer.body)))
    headers = [(name.lower().encode(), value.encode()) for name, value in (*answer.headers, length)]
    return status, headers, answer.body


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
