"""Serving: from settings to an open port, and from a signal to a clean end."""

import gc
import logging
import resource
import signal
import socket
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from functools import partial

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config

from restms_cluster import member
from restms_cluster.broker import Broker
from restms_cluster.embedded import EmbeddedServer
from restms_cluster.profiles import load_profiles
from restms_cluster.topology import Topology, parse_topology
from restms_node import access_log, control, metrics_server, pid_file, trace_switch
from restms_node.access import Access
from restms_node.app import make_app
from restms_node.audit import opened
from restms_node.authenticators import make_access
from restms_node.config import Settings
from restms_node.drain import Drain, at_signal
from restms_node.exposure import cannot_listen, place_of
from restms_node.gate import Gate
from restms_node.guard import Guard
from restms_node.limiter import Limiter
from restms_node.metrics import Page
from restms_node.metrics_snapshot import alone, taken
from restms_node.metrics_workers import Channel
from restms_node.node import Node
from restms_node.rules import Rules
from restms_node.serving import serve_connections
from restms_node.subprotocols import FRAME_BYTES
from restms_node.version import VERSION
from restms_node.waiting import Waits

BACKLOG = 1024
COLLECT_AFTER = 50_000  # more objects made than freed
COLLECT_OLDER_EACH = (20, 20)  # so many collections of the younger ones
SPARE_FILES = 1000  # beside the waits: other requests, Redis, the log
KEEP_ALIVE_SECONDS = 30  # idle connections, and headers that come too slowly
LAST_ANSWERS_SECONDS = 5  # for the answers of waits that a drain has ended

_log = logging.getLogger("restms.server")


async def serve(settings: Settings) -> None:
    """Serve until a signal ends it. Raises StartError, perhaps in a group, when it cannot start."""
    with (
        bound(settings) as listener,
        metrics_server.bound(settings) as scraped,
        pid_file.written(settings.pid_file),
    ):
        listen(settings, listener)
        async with drain_when_asked() as drain:
            await serve_on(settings, listener, partial(announce, listener), drain, scraped=scraped)


@asynccontextmanager
async def drain_when_asked() -> AsyncGenerator[Drain]:
    """Give a drain that begins when somebody asks for it in the time of the block."""
    drain = Drain()
    async with trio.open_nursery() as nursery:
        await nursery.start(at_signal, drain)
        await nursery.start(control.run, drain)
        yield drain
        nursery.cancel_scope.cancel()


async def serve_on(
    settings: Settings,
    listener: socket.socket,
    ready: Callable[[str], object],
    drain: Drain,
    *,
    scraped: socket.socket | None = None,
    channel: Channel | None = None,
) -> None:
    """Serve on a listener; `ready` is told where the data is. Raises as serve() does.

    `scraped` is a bound socket for metrics alone, if they have one; `channel` is what a worker
    has to tell the parent of its own.
    """
    _allow_many_connections(settings.max_waits)
    _collect_seldom()
    await _serve(settings, listener, ready, drain, scraped, channel)


def announce(listener: socket.socket, data: str) -> None:
    """Say that the node listens, for people and for programs that wait for it."""
    print(f"restms {VERSION} listens on {_url(listener)}, data in {data}", flush=True)  # noqa: T201


def bound(settings: Settings) -> socket.socket:
    """Take the address, without listening yet; StartError where it cannot be had, or must not."""
    family, kind, protocol, _, address = place_of(settings)
    try:
        place = socket.socket(family, kind, protocol)
        try:
            place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            place.bind(address)
        except OSError:
            place.close()
            raise
    except OSError as error:
        raise cannot_listen(settings, error) from error
    return place


def listen(settings: Settings, place: socket.socket) -> None:
    """Listen at an address that was taken; StartError where somebody else does."""
    try:
        _give_up_on_who_does_not_read(place, settings.drain_seconds)
        place.listen(BACKLOG)
    except OSError as error:
        raise cannot_listen(settings, error) from error
    place.setblocking(False)  # noqa: FBT003, the standard library's signature


def longest_drain(settings: Settings) -> float:
    """Return how many seconds may pass between a signal and the end."""
    flush_seconds = trace_switch.FLUSH_SECONDS if settings.tracing else 0
    drain_seconds = settings.drain_delay_seconds + LAST_ANSWERS_SECONDS + settings.drain_seconds
    return drain_seconds + flush_seconds


def _give_up_on_who_does_not_read(listener: socket.socket, seconds: float) -> None:
    # Hypercorn's sending cannot be cancelled: only the system can end it. What
    # is accepted inherits the option.
    option = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux has it
    if option is not None:
        milliseconds = int(max(seconds, 1) * 1000)
        listener.setsockopt(socket.IPPROTO_TCP, option, milliseconds)


def _collect_seldom() -> None:
    """Have Python look for cycles of garbage less often than by default.

    Thousands of parked waits are hundreds of thousands of objects, which it
    would walk again and again while they are answered. What a request leaves
    behind goes by its reference counts.
    """
    gc.collect()
    gc.freeze()  # what was imported stays
    gc.set_threshold(COLLECT_AFTER, *COLLECT_OLDER_EACH)


def _allow_many_connections(max_waits: int) -> None:
    """Raise the limit on open files as far as may be; say so where that is too little."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max_waits + SPARE_FILES
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    if soft != resource.RLIM_INFINITY and soft < wanted:
        _log.warning(
            "Only %d files may be open here, too few for %d waits: raise the limit (ulimit -n).",
            soft,
            max_waits,
        )


async def _serve(
    settings: Settings,
    listener: socket.socket,
    ready: Callable[[str], object],
    drain: Drain,
    scraped: socket.socket | None,
    channel: Channel | None,
) -> None:
    profiles = load_profiles(settings.extra_profiles)
    access = make_access(settings)
    async with trio.open_nursery() as nursery:
        if settings.redis:
            topology: Topology = parse_topology(settings.redis)
            data = str(topology)
        else:
            url = await nursery.start(EmbeddedServer(settings.data_dir, settings.levels).run)
            topology = parse_topology(url)
            data = str(settings.data_dir)
        async with trio.open_nursery() as members:
            broker = await members.start(
                partial(
                    member.run,
                    topology,
                    settings.domains,
                    settings.limits,
                    sweep_seconds=settings.sweep_seconds,
                    timeout_seconds=settings.redis_timeout_seconds,
                    durability=settings.levels,
                    profiles=profiles,
                )
            )
            members.start_soon(access.run)
            await _serve_http(
                settings, listener, broker, access, partial(ready, data), drain, scraped, channel
            )
            members.cancel_scope.cancel()
        # The embedded server goes last: the node's last answers rest on it.
        nursery.cancel_scope.cancel()


async def _serve_http(
    settings: Settings,
    listener: socket.socket,
    broker: Broker,
    access: Access,
    ready: Callable[[], object],
    drain: Drain,
    scraped: socket.socket | None,
    channel: Channel | None,
) -> None:
    gate = None if access.open else Gate(Rules(settings.rules), access.challenges)
    audited = settings.audit_log is not None or gate is not None
    async with trace_switch.tracing(settings) as tracing:
        with (
            opened(settings.audit_log, settings.trusted_proxies)
            if audited
            else nullcontext() as audit,
            access_log.opened() if settings.access_log else nullcontext() as requests,
        ):
            waits, limiter = _waits(settings, broker), Limiter(broker, settings)
            node = Node(
                broker,
                waits,
                settings,
                access,
                gate,
                audit,
                limiter,
                access_log=requests,
                tracing=tracing,
            )
            async with trio.open_nursery() as nursery:
                page = Page(partial(alone, node))
                if channel is not None:
                    await nursery.start(channel.run, partial(taken, node))
                    page = Page(channel.gathered)
                if scraped is not None:
                    nursery.start_soon(metrics_server.serve, page, of_hypercorn(settings), scraped)
                await _serve_node(node, listener, ready, drain, page)
                if channel is not None:
                    await channel.report()
                nursery.cancel_scope.cancel()


def _waits(settings: Settings, broker: Broker) -> Waits:
    # Reading is what keeps a waiting reader's pipe in use.
    reread_seconds = min(settings.reread_seconds, settings.limits.idle_seconds / 3)
    return Waits(
        broker.shards,
        most=settings.max_waits,
        most_each=settings.max_waits_each,
        most_in={domain.name: domain.waits_per_domain for domain in settings.domains},
        reread_seconds=reread_seconds,
    )


async def _serve_node(
    node: Node, listener: socket.socket, ready: Callable[[], object], drain: Drain, page: Page
) -> None:
    settings = node.settings
    # A worker listens only now: who came before would wait for its start, or be lost with it.
    listen(settings, listener)
    app = ASGIWrapper(Guard(make_app(node, page), node.waits, node.access_log))
    with trio.CancelScope() as everything:
        await serve_connections(
            app,
            of_hypercorn(settings),
            listener,
            node,
            partial(_until_told, settings, node.waits, everything, ready, drain),
        )


def of_hypercorn(settings: Settings) -> Config:
    """Return Hypercorn's configuration."""
    config = Config()
    config.graceful_timeout = settings.drain_seconds
    config.keep_alive_timeout = KEEP_ALIVE_SECONDS
    # Hypercorn would end a connection after so many requests, and not always cleanly.
    config.keep_alive_max_requests = sys.maxsize
    config.include_server_header = False
    # As a logger, for to one that it makes itself it gives a form of its own.
    config.errorlog = logging.getLogger("hypercorn.error")
    config.errorlog.setLevel(logging.WARNING)
    config.websocket_max_message_size = FRAME_BYTES
    return config


async def _until_told(
    settings: Settings,
    waits: Waits,
    everything: trio.CancelScope,
    ready: Callable[[], object],
    drain: Drain,
) -> None:
    """Return when the server is to close: after a signal, once the waits have been answered.

    SIGTERM comes from an orchestrator, whose load balancer needs a moment to
    see that the node is no longer ready, unless it drains already; SIGINT comes
    from a person, and SIGHUP from a terminal that was closed.
    """
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        ready()  # a signal that comes from now on lets what is under way end
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_drain_first, waits, drain)
            told = await anext(signals)
            nursery.start_soon(_until_told_again, signals, everything)
            waits.drain()
            if told == signal.SIGTERM:
                await trio.sleep_until(waits.drains_since + settings.drain_delay_seconds)
            with trio.move_on_after(LAST_ANSWERS_SECONDS):
                await waits.ended()
            nursery.cancel_scope.cancel()


async def _drain_first(waits: Waits, drain: Drain) -> None:
    await drain.until_begun()
    waits.drain()
    await waits.ended()
    drain.end()


async def _until_told_again(signals: AsyncIterator[int], everything: trio.CancelScope) -> None:
    await anext(signals)
    everything.cancel()


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
