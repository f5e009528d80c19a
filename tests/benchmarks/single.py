"""One message in a request, beside bare requests and beside what others do with one."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.benchmarks import others
from tests.benchmarks.broker import (
    BATCH,
    PUBLISH,
    cluster,
    delete_pipe,
    document,
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


def take(url: str, seconds: float) -> float:
    """Return how many messages a second are read and acknowledged, each by two requests.

    Each connection has a pipe of its own, with more in it than it can read.
    """
    pipes = [make_pipe(url) for _ in range(CONNECTIONS)]
    line = Line(url)
    for pipe in pipes:
        body = document([pipe] * BATCH, CBOR)
        for _ in range(max(1, round(MOST * max(seconds, 1) / BATCH + 0.5))):
            line.ask(request("POST", PUBLISH, body, CBOR))
    line.close()
    found = rate(url, Load(TAKE, tuple(pipes)), seconds) / len(TAKE)
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
