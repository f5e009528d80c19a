"""/metrics on an address of its own (--metrics-bind), to everybody who can reach it."""

import logging
import socket
from contextlib import AbstractContextManager, nullcontext

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext

from restms_cluster.errors import StartError
from restms_node.app_pages import make_metrics_app
from restms_node.config import Settings
from restms_node.guard import Guard
from restms_node.metrics import PATH, Page
from restms_node.serving import Connections
from restms_node.values import OFF, host_and_port

BACKLOG = 64
MOST_CONNECTIONS = 50  # the files are for those who send and wait for messages

_log = logging.getLogger("restms.metrics")


def bound(settings: Settings) -> AbstractContextManager[socket.socket | None]:
    """Take the address, if there is one of its own; StartError where it cannot be had."""
    if settings.metrics_bind in ("", OFF):
        return nullcontext()
    host, port = host_and_port(settings.metrics_bind)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        place = socket.socket(family, kind, protocol)
        try:
            place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            place.bind(address)
        except OSError:
            place.close()
            raise
    except OSError as error:
        text = f"Cannot serve metrics on {settings.metrics_bind}: {error.strerror}."
        raise StartError(text) from error
    return place


async def serve(page: Page, config: Config, listener: socket.socket) -> None:
    """Serve a page until it is cancelled."""
    listener.listen(BACKLOG)
    listener.setblocking(False)  # noqa: FBT003, the standard library's signature
    host, port = listener.getsockname()[:2]
    _log.info("metrics are on http://%s:%d%s", f"[{host}]" if ":" in host else host, port, PATH)
    app = ASGIWrapper(Guard(make_metrics_app(page), None))
    connections = Connections(app, config, WorkerContext(None), {}, None, most=MOST_CONNECTIONS)
    listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(listener))]
    await trio.serve_listeners(connections.serve, listeners)
