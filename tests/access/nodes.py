"""Two nodes on one Redis, one with the lane and one without, with principals of a test's own.

    with Nodes(rules) as nodes:
        nodes.send("POST", "/restms/domain/default", "<restms><pipe/></restms>", by="alice")

Whoever a request is by says so in plain text (`Bearer alice`), and may add his groups and
when his credentials end, in seconds since the epoch: `alice;staff,crew;1700000000.5`.
"""

import itertools
import json
import logging
import re
import socket
import tempfile
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config

from restms_cluster import member
from restms_cluster.address import Address
from restms_node.access import Access
from restms_node.app import make_app
from restms_node.audit import Audit
from restms_node.config import Settings
from restms_node.configured import read_domains
from restms_node.gate import Gate
from restms_node.guard import Guard
from restms_node.node import Node
from restms_node.principals import Principal
from restms_node.remembered import Remembered
from restms_node.rules import Rule, Rules
from restms_node.serving import serve_connections
from restms_node.tracing import Tracing
from restms_node.waiting import Waits
from tests.servers import start_server
from tests.waiting import wait_until

SECONDS = 20.0
XML = {"Content-Type": "application/restms+xml", "Accept": "application/restms+xml"}
CHALLENGE = 'Bearer realm="restms"'
DOMAINS = [
    {"name": "default"},
    {"name": "sales", "feed": [{"name": "orders"}]},
    {"name": "lobby", "feed": [{"name": "open"}]},
]


class PlainText:
    """An authenticator that believes everybody, but for those who are gone."""

    scheme = "bearer"
    challenge = CHALLENGE

    def __init__(self) -> None:
        self.gone: set[str] = set()
        self.groups: dict[str, frozenset[str]] = {}
        self._remembered: list[Remembered] = []

    async def check(self, credentials: str) -> Principal | None:
        name, groups, expires = [*credentials.split(";"), "", ""][:3]
        if not name or name in self.gone:
            return None
        said = frozenset(group for group in groups.split(",") if group)
        return Principal(
            name,
            self.groups.get(name, said),
            float(expires) if expires else None,
            "plain",
        )

    async def run(self, remembered: Remembered) -> None:
        self._remembered.append(remembered)

    def forget(self, name: str) -> None:
        """Let somebody be known no more, as if he were taken out of a file."""
        self.gone.add(name)
        self._forget_all()

    def put_in(self, name: str, *groups: str) -> None:
        """Let somebody be in these groups and no others, as if a file said so."""
        self.groups[name] = frozenset(groups)
        self._forget_all()

    def _forget_all(self) -> None:
        for one in self._remembered:
            one.forget()


class _Lines(logging.Handler):
    """Keeps the lines of an audit log."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(record.getMessage()))


class Nodes:
    """The nodes, in a thread of their own, for the time of a block."""

    def __init__(
        self, rules: Sequence[Rule] | None, tracing: Tracing | None = None, **settings: object
    ) -> None:
        """Begin; without rules the nodes have no authenticator."""
        self.authenticator = PlainText()
        self._tracing = tracing
        self._rules = rules
        self._settings = settings
        self._audit = _Lines()
        self._turn = itertools.count()
        self._http = httpx.Client(timeout=SECONDS)
        self._waits: list[Waits] = []
        self.urls: list[str] = []

    @property
    def audited(self) -> list[dict[str, Any]]:
        """What the audit log of all nodes has."""
        return self._audit.lines

    def send(
        self,
        method: str,
        uri: str,
        body: str | bytes | Iterable[bytes] | None = None,
        *,
        by: str = "",
        node: int | None = None,
        **headers: str,
    ) -> httpx.Response:
        """Send a request to a node, the next in turn if none is named."""
        return self._http.request(
            method, self.url(uri, node), content=body, headers=self.headers(by, **headers)
        )

    def stream(self, uri: str, *, by: str, node: int | None = None, **headers: str) -> Any:
        """Send a GET whose answer is read as it comes, inside `with`."""
        url = self.url(uri, node)
        return self._http.stream("GET", url, headers=self.headers(by, **headers))

    def url(self, uri: str, node: int | None = None) -> str:
        """Return where a node has a resource."""
        number = next(self._turn) if node is None else node
        return self.urls[number % len(self.urls)] + re.sub(r"^http://[^/]+", "", uri)

    def headers(self, by: str, **headers: str) -> dict[str, str]:
        """Return the headers of a request by somebody."""
        credentials = {"Authorization": f"Bearer {by}"} if by else {}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return {**XML, **credentials, **named}

    def made(self, uri: str, body: str | bytes, *, by: str = "", **headers: str) -> str:
        """Return the URI of what a POST makes."""
        answer = self.send("POST", uri, body, by=by, **headers)
        assert answer.status_code in (200, 201), answer.text
        return answer.headers["location"]

    def pipe(self, by: str = "", domain: str = "default", type: str = "") -> str:
        """Make a pipe and return its URI."""
        document = f'<restms><pipe type="{type}"/></restms>'
        return self.made(f"/restms/domain/{domain}", document, by=by)

    def feed(self, by: str = "", name: str = "", type: str = "", domain: str = "default") -> str:
        """Make a feed, a private one without a name, and return its URI."""
        document = f'<restms><feed name="{name}" type="{type}"/></restms>'
        return self.made(f"/restms/domain/{domain}", document, by=by)

    def join(self, pipe: str, feed: str, by: str = "", address: str = "") -> str:
        """Join a pipe to a feed and return the join's URI."""
        return self.made(pipe, f'<restms><join feed="{feed}" address="{address}"/></restms>', by=by)

    def publish(self, feed: str, address: str, by: str = "", text: str = "text") -> None:
        """Post a message."""
        document = (
            f'<restms><message address="{address}"><content>{text}</content></message></restms>'
        )
        answer = self.send("POST", feed, document, by=by)
        assert answer.status_code == 200, answer.text

    def until_parked(self) -> None:
        """Return when a request waits on one of the nodes."""
        wait_until(lambda: any(waits.parked for waits in self._waits))

    def __enter__(self) -> Self:
        ready: list[Callable[[], None]] = []
        self._ready = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._run, ready))
        self._thread.start()
        assert self._ready.wait(SECONDS), "the nodes did not start"
        (self._stop,) = ready
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()
        self._stop()
        self._thread.join(SECONDS)

    async def _run(self, ready: list[Callable[[], None]]) -> None:
        end = trio.Event()
        token = trio.lowlevel.current_trio_token()
        with tempfile.TemporaryDirectory() as directory:
            server = start_server(Path(directory))
            try:
                async with trio.open_nursery() as nursery:
                    for lane in (True, False):
                        await nursery.start(self._serve, server.url, lane, end)
                    ready.append(lambda: token.run_sync_soon(end.set))
                    self._ready.set()
            finally:
                server.close()

    async def _serve(
        self,
        redis: str,
        lane: bool,
        end: trio.Event,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        domains = read_domains(DOMAINS, Settings().limits)
        settings = Settings(lane=lane, domains=domains, **self._settings)  # type: ignore[arg-type]
        logger = logging.getLogger(f"tests.audit.{id(self)}")
        logger.setLevel("INFO")
        logger.handlers = [self._audit]
        async with trio.open_nursery() as nursery:
            joining = partial(member.run, sweep_seconds=5, timeout_seconds=5)
            broker = await nursery.start(
                joining, Address.parse(redis), settings.domains, settings.limits
            )
            waits = Waits(broker.shards, most=100, reread_seconds=60)
            self._waits.append(waits)
            if self._rules is None:
                node = Node(broker, waits, settings, tracing=self._tracing)
            else:
                access = Access([self.authenticator])
                nursery.start_soon(access.run)
                gate = Gate(Rules(self._rules), access.challenges)
                node = Node(broker, waits, settings, access, gate, Audit(logger))
            with socket.create_server(("127.0.0.1", 0)) as listener:
                listener.setblocking(False)
                self.urls.append(f"http://127.0.0.1:{listener.getsockname()[1]}")
                config = Config()
                config.include_server_header = False
                config.graceful_timeout = 0.1
                config.loglevel = "WARNING"
                app = ASGIWrapper(Guard(make_app(node), node.waits))

                async def until_told() -> None:
                    task_status.started()
                    await end.wait()
                    waits.drain()

                await serve_connections(app, config, listener, node, until_told)
            nursery.cancel_scope.cancel()
