"""A small ASGI layer ahead of everything: requests that two parsers could read differently."""

from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, Scope


class Guard:
    """Refuses what could smuggle a second request past a proxy (RFC 9112 6.1)."""

    def __init__(self, app: ASGIFramework) -> None:
        self._app = app

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Pass a request on, or answer it with 400 and end its connection."""
        if scope["type"] == "http":
            names = [name.lower() for name, _ in scope["headers"]]
            if b"transfer-encoding" in names and b"content-length" in names:
                await _refuse(send)
                return
        await self._app(scope, receive, send)


async def _refuse(send: ASGISendCallable) -> None:
    body = b"A request has either Content-Length or Transfer-Encoding, not both.\n"
    await send(
        {
            "type": "http.response.start",
            "status": 400,
            "headers": [
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"content-length", str(len(body)).encode()),
                (b"connection", b"close"),
            ],
        }
    )
    await send({"type": "http.response.body", "body": body, "more_body": False})
