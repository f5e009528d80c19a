"""Responses of Quart's, made of answers."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from types import TracebackType

from quart import Response
from quart.wrappers.response import ResponseBody
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException

from restms_node.exchange import Answer, Stream
from restms_node.front import ALWAYS, NO_BODY


class StreamedBody(ResponseBody):
    """A response's body that is sent as it comes."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._open: AbstractAsyncContextManager[AsyncIterator[bytes]] | None = None

    async def __aenter__(self) -> AsyncIterator[bytes]:
        """Open the stream."""
        self._open = self._stream()
        return await self._open.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Close it."""
        if self._open is not None:
            await self._open.__aexit__(kind, error, at)


def respond(answer: Answer, method: str = "GET") -> Response:
    """Make a response of exactly these headers, and a length where it is known."""
    response = Response(answer.body, status=answer.status)
    response.headers = Headers([*answer.headers, *ALWAYS])
    if answer.stream is not None:
        if method != "HEAD":
            response.response = StreamedBody(answer.stream)
        if answer.length is not None:
            response.headers["Content-Length"] = str(answer.length)
    elif answer.status not in NO_BODY:
        response.headers["Content-Length"] = str(len(answer.body))
    return response


def said(error: HTTPException) -> str:
    """Return the sentence of an error of Quart's."""
    if error.code == 413:
        return "The body is over its limit."
    return "The server met an unexpected error." if error.code == 500 else f"{error.name}."
