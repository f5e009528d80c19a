"""Topic matching beside a reference matcher of a few lines, over any patterns and addresses.

AMQP 0-9-1, 3.1.3.3: words between dots; `*` is one word, `#` zero or more. The
empty text has no words, and a word may be empty.
"""

from collections.abc import Iterator
from contextlib import closing
from functools import partial

import pytest
import redis
from hypothesis import example, given, settings
from hypothesis import strategies as st

from restms_cluster.transitions import DomainConfigure, FeedCreate, JoinDelete, PipeCreate, PipeRead
from tests.leaks import BOUNDS, run
from tests.scripts.conftest import IDLE, joining, listed, posting
from tests.servers import start_server

INDEX = "restms:{default}:index:*"
WORDS = st.sampled_from(["a", "b", "", "*", "#", "ab", "ü", " "])
TEXTS = st.lists(WORDS, max_size=7).map(".".join)


def matches(pattern: list[str], words: list[str]) -> bool:
    """Say it in the words of the specification."""
    if not pattern:
        return not words
    first, *rest = pattern
    if first == "#":
        return any(matches(rest, words[n:]) for n in range(len(words) + 1))
    return bool(words) and first in ("*", words[0]) and matches(rest, words[1:])


def split(text: str) -> list[str]:
    return text.split(".") if text else []


@pytest.fixture(scope="module")
def topics(tmp_path_factory: pytest.TempPathFactory) -> Iterator["redis.Redis[bytes]"]:
    with (
        closing(start_server(tmp_path_factory.mktemp("redis"))) as server,
        closing(server.client()) as client,
    ):
        yield client


def configure(client: "redis.Redis[bytes]") -> None:
    client.flushall()
    run(client, DomainConfigure("default", "", ("default", "", "", "", "", "")))
    assert run(client, FeedCreate("default", "news", "topic", "", "", "", "", 10))[0] == "ok"


def subscribe(client: "redis.Redis[bytes]", number: int, *patterns: str) -> str:
    pipe = f"{number:032x}"
    run(client, PipeCreate("default", pipe, f"p{pipe}", f"{number:032x}", "", "", 100, IDLE))
    for place, pattern in enumerate(patterns, start=1):
        join = f"{number * 1000 + place:032x}"
        assert run(client, joining(pipe, join, "news", pattern))[0] in ("ok", "exists")
    return pipe


@settings(max_examples=300, deadline=None)
@given(
    st.lists(TEXTS, min_size=1, max_size=8, unique=True), st.lists(TEXTS, min_size=1, max_size=8)
)
@example(["#.#", "#", "", "*", "#.*", "*.#", "#.#.#"], ["", ".", "a", "a.b", "..", "#", "*"])
@example(["a.#.b", "a.*.b", "#.a.#.b.#", "*.*", "a..b", "."], ["a.b", "a..b", "a.a.b.b", "a."])
@example(["stock.#", "*.stock.#", "usd.stock"], ["usd.stock", "eur.stock.db", "stock.nasdaq"])
def test_the_index_finds_what_the_reference_finds(
    topics: "redis.Redis[bytes]", patterns: list[str], addresses: list[str]
) -> None:
    configure(topics)
    pipes = [subscribe(topics, n, pattern) for n, pattern in enumerate(patterns, start=1)]
    answer = run(topics, posting("news", *[(address, "", b"m") for address in addresses]))
    wanted = [[matches(split(p), split(address)) for p in patterns] for address in addresses]
    assert answer == ["ok", 0, *(n for row in wanted for n in (sum(row), 0))]
    for place, pipe in enumerate(pipes):
        held = [address for address, _ in listed(partial(run, topics), pipe)]
        assert held == [a for a, row in zip(addresses, wanted, strict=True) if row[place]]
    for number in range(1, len(patterns) + 1):
        run(topics, JoinDelete("default", f"{number * 1000 + 1:032x}", "", "", IDLE, BOUNDS))
    nothing = ["ok", 0, *[0] * 2 * len(addresses)]
    assert run(topics, posting("news", *[(a, "", b"m") for a in addresses])) == nothing
    # Of the feed default's index there are the pipes' own joins.
    assert len(topics.keys(INDEX)) == 1 + len(pipes)


def test_a_pattern_has_so_many_words(topics: "redis.Redis[bytes]") -> None:
    configure(topics)
    pipe = subscribe(topics, 1, ".".join("*" * 64))
    assert run(topics, joining(pipe, "f" * 32, "news", ".".join("*" * 65))) == ["bad_join"]
    assert run(topics, posting("news", (".".join("a" * 64), "", b"m"))) == ["ok", 0, 1, 0]


@settings(max_examples=100, deadline=None)
@given(st.lists(TEXTS, min_size=2, max_size=6), TEXTS, st.randoms(use_true_random=False))
def test_a_pipe_gets_one_copy_however_many_of_its_joins_match(
    topics: "redis.Redis[bytes]", patterns: list[str], address: str, random: object
) -> None:
    configure(topics)
    pipe = subscribe(topics, 1, *patterns)
    remaining = dict(enumerate(dict.fromkeys(patterns), start=1))
    joins = {
        place: f"{1000 + patterns.index(pattern) + 1:032x}" for place, pattern in remaining.items()
    }
    for place in list(remaining):
        expected = any(matches(split(p), split(address)) for p in remaining.values())
        assert run(topics, posting("news", (address, "", b"m"))) == ["ok", 0, int(expected), 0]
        run(topics, JoinDelete("default", joins[place], "", "", IDLE, BOUNDS))
        del remaining[place]
    assert run(topics, posting("news", (address, "", b"m"))) == ["ok", 0, 0, 0]
    assert not topics.keys("*:extra")
    assert not topics.keys("*:tree")
    assert len(run(topics, PipeRead("default", pipe, 100, IDLE))[5]) == 1
