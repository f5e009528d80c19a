"""The Quart shell's part in counting requests: one pair of hooks sees all that Quart answers."""

from contextlib import AbstractContextManager, nullcontext
from time import perf_counter

import trio
from quart import Response, g, request
from quart_trio import QuartTrio

from restms_cluster.errors import NotFoundError
from restms_node import metrics, openapi
from restms_node.node import Node
from restms_node.routes import route, takes_in
from restms_node.traffic import OTHER
from restms_node.uris import Target, Uris, plain

PAGES = {
    "/livez": "health",
    "/readyz": "health",
    openapi.PATH: "openapi",
    metrics.PATH: "metrics",
}


class Mark:
    """What a request has open while it waits (`exchange.Watched`): afterwards it is known to."""

    __slots__ = ("waited",)

    def __init__(self) -> None:
        self.waited = False

    def __call__(self, scope: trio.CancelScope) -> AbstractContextManager[object]:
        """Remember that it waits. Quart itself cancels who waits for a client who has gone."""
        del scope
        self.waited = True
        return nullcontext()


def count_requests(app: QuartTrio, node: Node) -> None:
    """Have an application count what it answers. A handler may put a Mark into `g.mark`."""

    @app.before_request
    async def begin() -> None:
        g.begun = perf_counter()

    @app.after_request
    async def end(response: Response) -> Response:
        seconds = perf_counter() - g.begun
        path, mark = request.scope["raw_path"].decode("latin-1"), g.get("mark")
        noun, target = _seen(node, path)
        waited = mark is not None and mark.waited
        if target is not None and not waited:
            # A stream of messages waits for its client, as long as that likes.
            waited = takes_in(request.method, target, request.headers.get("content-type"))
        node.traffic.count(noun, request.method, response.status_code, seconds, waited=waited)
        return response


def count_socket(node: Node, path: str, status: int) -> None:
    """Count the answer to who opens a WebSocket: 101, or a refusal."""
    noun, _ = _seen(node, path)
    node.traffic.count(noun, "GET", status, None)


def _seen(node: Node, path: str) -> tuple[str, Target | None]:
    """Return what a path is about, and what it names where that is a resource."""
    if path in PAGES:
        return PAGES[path], None
    try:
        target = Uris(node.settings.base_url).target(plain(path))
    except NotFoundError:
        return OTHER, None
    return route(target), target
