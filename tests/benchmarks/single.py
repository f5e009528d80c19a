"""One message in a request, beside bare requests and beside what others do with one."""

import math
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

from tests.benchmarks import others
from tests.benchmarks.broker import (
    BATCH,
    cluster,
    delete_pipe,
    hello,
    make_pipe,
    publishing,
)
from tests.benchmarks.load import CONNECTIONS, Load, rate
from tests.benchmarks.measure import Group, Ratio, Setting, Way
from tests.benchmarks.wire import CBOR, Line, request

MOST = 1500  # turns a second of one connection: so many messages are there to be read
HELLO = Load((request("GET", "/"),))
TAKE = (
    request("GET", "/restms/resource/@NAME@-@TURN@"),
    request("DELETE", "/restms/resource/@NAME@-@TURN@"),
)


def post(url: str, seconds: float) -> float:
    """Return how many messages a second get into one pipe, one in a request."""
    pipe = make_pipe(url)
    found = rate(url, Load((publishing(pipe),)), seconds)
    delete_pipe(url, pipe)
    return found


def filled(url: str, seconds: float) -> tuple[str, ...]:
    """Make a pipe for each connection, with more in it than can be taken in the time."""
    pipes = tuple(make_pipe(url) for _ in range(CONNECTIONS))
    with closing(Line(url)) as line:
        for pipe in pipes:
            for _ in range(math.ceil(MOST * max(seconds, 1) / BATCH)):
                line.ask(publishing(pipe, BATCH, CBOR))
    return pipes


def take_from(url: str, pipes: tuple[str, ...], seconds: float) -> float:
    """Return how many messages a second are read and acknowledged, each by two requests."""
    return rate(url, Load(TAKE, pipes), seconds) / len(TAKE)


def take(url: str, seconds: float) -> float:
    """Fill pipes, and take from them; only that is timed."""
    pipes = filled(url, seconds)
    found = take_from(url, pipes, seconds)
    for pipe in pipes:
        delete_pipe(url, pipe)
    return found


@contextmanager
def open_single(setting: Setting) -> Iterator[dict[str, Way]]:
    """A node, a bare server, and the others that are installed."""
    with ExitStack() as stack:
        nodes = stack.enter_context(cluster(1))
        [bare] = stack.enter_context(hello())
        [url], seconds = nodes.urls, setting.seconds
        ways = {
            "bare": Way("bare Hypercorn", "requests/s", lambda: rate(bare, HELLO, seconds)),
            "post": Way("restms: POST, XML", "messages/s", lambda: post(url, seconds)),
            "take": Way("restms: GET and DELETE", "messages/s", lambda: take(url, seconds)),
        }
        yield ways | others.singles(stack, setting)


SINGLE = Group(
    "single",
    f"One message in a request, {CONNECTIONS} connections",
    open_single,
    (
        Ratio("POST of one message, to a bare request", "post", "bare", least=5),
        Ratio("POST of one message, to Nchan's with Redis", "post", "nchan", least=1),
        Ratio("GET and DELETE of one message, to two bare ones", "take", "bare", times=2, least=4),
    ),
    guess=12,
)
