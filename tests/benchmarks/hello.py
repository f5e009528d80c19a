"""The least that an application can do on Hypercorn's Trio worker: what requests are measured by.

python -m tests.benchmarks.hello        prints its URL and serves until it is stopped
"""

import socket
import sys

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config, Sockets
from hypercorn.trio.run import worker_serve
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

BODY = b"hello\n"


async def hello(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """Answer every request in the same way."""
    if scope["type"] == "lifespan":
        while True:
            event = await receive()
            if event["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                await send({"type": "lifespan.shutdown.complete"})
                return
    headers = [(b"content-length", str(len(BODY)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY, "more_body": False})


async def main() -> None:
    """Serve on a free port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    listener.setblocking(False)
    config = Config()
    config.loglevel = "WARNING"
    config.keep_alive_max_requests = sys.maxsize
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    await worker_serve(ASGIWrapper(hello), config, sockets=Sockets([], [listener], []))


if __name__ == "__main__":
    trio.run(main)
