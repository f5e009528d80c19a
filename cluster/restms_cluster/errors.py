"""What can go wrong, each with its HTTP status and a stable word.

The status numbers are those of RestTL's table; the word is for programs and
logs; the text is one plain sentence for a person. The layer above only prints
them, so an error means the same wherever it is raised.
"""


class RestMSError(Exception):
    """A request that cannot be granted.

    `status` is the HTTP status, `word` a stable name, `text` one plain
    sentence, `retry_after` the seconds after which a repeat makes sense.
    """

    status = 500
    word = "internal"

    def __init__(self, text: str, *, retry_after: int | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.retry_after = retry_after


class BadRequestError(RestMSError):
    """The document, a name, a header or an address is malformed."""

    status = 400
    word = "bad_request"


class UnauthorizedError(RestMSError):
    """The request needs credentials, or has wrong ones; `challenges` are those that would do.

    Each is a value of WWW-Authenticate (RFC 9110 11.6.1).
    """

    status = 401
    word = "unauthorized"

    def __init__(self, text: str, challenges: tuple[str, ...]) -> None:
        super().__init__(text)
        self.challenges = challenges


class ForbiddenError(RestMSError):
    """The method or action is not allowed on this resource."""

    status = 403
    word = "forbidden"


class NotOwnerError(ForbiddenError):
    """Only who made the resource may do that."""

    reason = "not_owner"


class NotFoundError(RestMSError):
    """There is no such resource, or there is none any more."""

    status = 404
    word = "not_found"


class PreconditionFailedError(RestMSError):
    """The client's copy of the resource is old."""

    status = 412
    word = "precondition_failed"


class TooLargeError(RestMSError):
    """A document, a content or a number of things is over its limit."""

    status = 413
    word = "too_large"


class MisdirectedError(RestMSError):
    """The request is for a host that is not this server (RFC 9110 15.5.20)."""

    status = 421
    word = "misdirected"


class KeyReusedError(RestMSError):
    """The client's key for a request was used for another one before."""

    status = 422
    word = "key_reused"


class UnsupportedCodingError(RestMSError):
    """A content coding that the server does not read; `known` are those that it does."""

    status = 415
    word = "unsupported_coding"

    def __init__(self, text: str, known: tuple[str, ...]) -> None:
        super().__init__(text)
        self.known = known


class TooManyRequestsError(RestMSError):
    """A client asks more often than it may; `retry_after` says when it may again.

    `fields` are the headers that tell of the limit.
    """

    status = 429
    word = "too_many_requests"

    def __init__(
        self, text: str, *, retry_after: int = 1, fields: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(text, retry_after=retry_after)
        self.fields = fields


class UnsupportedTypeError(RestMSError):
    """A media type that the server cannot read or write."""

    status = 501
    word = "unsupported_type"


class UnavailableError(RestMSError):
    """Overloaded, draining, or the shared state is out of reach for now."""

    status = 503
    word = "unavailable"

    def __init__(self, text: str, *, retry_after: int = 1) -> None:
        super().__init__(text, retry_after=retry_after)


class FullError(UnavailableError):
    """Every pipe that wants the messages has no room for them."""

    word = "full"


class DrainingError(UnavailableError):
    """The node is going down; another one will answer."""

    word = "draining"

    def __init__(self, text: str) -> None:
        super().__init__(text, retry_after=0)


class StateUnavailableError(UnavailableError):
    """Redis did not answer, or answered that it cannot serve now."""

    word = "state_unavailable"


class BrokenStateError(RestMSError):
    """Redis refuses, or fails in, what the broker does: its cause says why."""

    word = "broken_state"

    def __init__(self) -> None:
        super().__init__("Redis refuses an operation of the broker.")


class StartError(Exception):
    """The server cannot start; the text is the one sentence that says why."""


def first_error(group: BaseExceptionGroup[StartError]) -> BaseException:
    """Return the first of the errors in a group, and in the groups in it."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
