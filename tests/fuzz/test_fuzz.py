"""A little of make fuzz, the same each time; and all that was ever found."""

import gc
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from random import Random
from time import process_time

import pytest

from tests.fuzz.mutations import inputs
from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import TARGETS
from tests.fuzz.wire import OPTIONS, at_rest, cases, check, seeds, serves, state
from tests.nodes import Cluster

FINDINGS = Path(__file__).parent / "findings"
INPUTS = 1500
REQUESTS = 120
SLOW_SECONDS = 1.0


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_breaks_a_parser(name: str) -> None:
    for data in islice(inputs(Random(name), SEEDS[name]), INPUTS):
        started = process_time()
        TARGETS[name](data)
        assert process_time() - started < SLOW_SECONDS, data


@pytest.mark.parametrize("name", TARGETS)
def test_what_was_found_stays_mended(name: str) -> None:
    for path in sorted((FINDINGS / name).glob("*")):
        TARGETS[name](path.read_bytes())


GROWING: dict[str, tuple[str, Callable[[int], bytes]]] = {
    "elements": ("xml", lambda n: b"<restms>" + b"<message/>" * n + b"</restms>"),
    "attributes": (
        "xml",
        lambda n: b"<restms " + b" ".join(b'a%d=""' % i for i in range(n)) + b"/>",
    ),
    "nesting in XML": ("xml", lambda n: b"<restms>" + b"<a>" * n),
    "text in XML": ("xml", lambda n: b"<restms><message><content>" + b"&lt;" * n),
    "an unclosed tag": ("xml", lambda n: b"<restms " + b"a" * n),
    "nesting in JSON": ("json", lambda n: b'{"restms":' + b"[" * n),
    "a long number": ("json", lambda n: b'{"restms":{"a":' + b"9" * n + b"}}"),
    "base64": (
        "json",
        lambda n: (
            b'{"restms":{"message":{"content":{"encoding":"base64","value":"%b"}}}}' % (b"A " * n)
        ),
    ),
    "names": (
        "json",
        lambda n: b'{"restms":{' + b",".join(b'"%d":0' % i for i in range(n)) + b"}}",
    ),
    "nesting in CBOR": ("cbor", lambda n: b"\xa1\x66restms" + b"\x81" * n),
    "pieces of a text": ("cbor", lambda n: b"\xa1\x66restms\x7f" + b"\x61a" * n + b"\xff"),
    "messages": (
        "sealed",
        lambda n: b"\xa1\x66restms\xa1\x67message\x99" + n.to_bytes(2) + b"\xa1\x67address\x60" * n,
    ),
    "items": ("sequence", lambda n: b"\xa1\x67address\x60" * n),
    "an endless item": ("sequence", lambda n: b"\xbf" + b"\x61a" * n),
    "commas": ("headers", lambda n: b"," * n),
    "semicolons": ("headers", lambda n: b"a/b" + b";" * n),
    "quotes": ("headers", lambda n: b'"' * n),
    "backslashes": ("headers", lambda n: b'"' + b"\\" * n),
    "tags": ("headers", lambda n: b'W/"a",' * n),
    "blanks": ("headers", lambda n: b"a/b" + b" " * n + b";"),
    "digits": ("headers", lambda n: b"bytes=" + b"9" * n + b"-"),
    "parents": ("headers", lambda n: b"../" * n),
    "escapes": ("headers", lambda n: b"/restms/feed/" + b"%41" * n),
    "ampersands": ("headers", lambda n: b"messages=1" + b"&" * n),
    "empty members": ("codings", lambda n: SEEDS["codings"][2] * n),
    "header lines": ("heads", lambda n: b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * n + b"\r\n"),
}


@pytest.fixture
def nothing_is_collected() -> Iterator[None]:
    """Let nobody look through what other tests have left behind: that would be measured, too."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("nothing_is_collected")
@pytest.mark.parametrize("what", GROWING)
def test_time_grows_as_the_input_does(what: str) -> None:
    name, make = GROWING[what]

    def seconds(size: int) -> float:
        data, best = make(size), 1e9
        for _ in range(3):
            started = process_time()
            TARGETS[name](data)
            best = min(best, process_time() - started)
        return best

    size = 500
    while seconds(size) < 0.01 and size < 30_000:  # below that, it is the clock that is measured
        size *= 2
    # Four times as long: four times the time, and some for chance. A square would be sixteen.
    assert seconds(4 * size if size <= 16_000 else 60_000) < 10 * seconds(size) + 0.02


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(1, *OPTIONS) as cluster:
        cluster.add("--no-lane")
        yield cluster


def test_no_bytes_break_a_node(cluster: Cluster) -> None:
    good = seeds(cluster.urls)
    for number, (data, cut) in enumerate(islice(cases(Random(1), good), REQUESTS + len(good))):
        check(data, cluster.nodes[number % 2], cut=cut)
    for node in cluster.nodes:
        serves(node)
    assert "Traceback" not in cluster.log()


def test_a_websocket_s_client_who_speaks_too_early_leaves_nothing_open(cluster: Cluster) -> None:
    before = [state(node) for node in cluster.nodes]
    [early] = [data for data in seeds(cluster.urls) if data.endswith(b"{}")]
    for node in cluster.nodes * 8:
        check(early, node)
    at_rest(cluster, before)


def test_what_broke_a_node_stays_mended(cluster: Cluster) -> None:
    for path in sorted((FINDINGS / "wire").glob("*")):
        for node in cluster.nodes:
            check(path.read_bytes(), node)
            serves(node)
    assert "Traceback" not in cluster.log()
