"""What somebody has made is, for everybody else, nothing at all."""

import itertools
import re
import secrets
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from restms_cluster.names import owner_tag
from restms_node.rules import read_rules
from tests.access.nodes import Nodes

RULES = """
[[rule]]
principal = "*"
verbs = ["configure", "publish", "subscribe"]
domain = "*"
feed = "*"
"""
NEWS = "/restms/feed/news"
SECRET = re.compile(r"(?<=[fpjc])[0-9a-f]{32}(?:[0-9a-f]{16})?")
OF_NO_CONSEQUENCE = ("date", "server")
LARGE = "x" * 70_000


@dataclass
class Estate:
    """What alice has made."""

    pipe: str
    join: str
    feed: str
    content: str

    @property
    def uris(self) -> dict[str, str]:
        return {
            "pipe": self.pipe,
            "join": self.join,
            "private feed": self.feed,
            "staged content": self.content,
            "message": f"{self.pipe}-1",
            "delivered content": f"{self.pipe}-1-1",
            "next message": f"{self.pipe}-2",
            "message that cannot be": f"{self.pipe}-9",
        }


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    domains = {"default", "sales", "lobby"}
    with Nodes(read_rules(tomllib.loads(RULES)["rule"], domains)) as some:
        some.feed(by="carol", name="news", type="fanout")
        yield some


@pytest.fixture(scope="module")
def estate(nodes: Nodes) -> Estate:
    pipe = nodes.pipe(by="alice")
    join = nodes.join(pipe, NEWS, by="alice")
    content = nodes.made(NEWS, LARGE, by="alice", Content_Type="text/plain")
    document = f'<restms><message><content href="{content}"/></message></restms>'
    assert nodes.send("POST", NEWS, document, by="alice").status_code == 200
    content = nodes.made(NEWS, "text", by="alice", Content_Type="text/plain")
    return Estate(pipe, join, nodes.feed(by="alice"), content)


REQUESTS = [
    ("GET", None, {}),
    ("HEAD", None, {}),
    ("GET", None, {"Prefer": "wait=0"}),
    ("GET", None, {"If-None-Match": "*"}),
    ("GET", None, {"If-Modified-Since": "Fri, 31 Dec 2100 23:59:59 GMT"}),
    ("GET", None, {"When-None-Match": "*", "Prefer": "wait=0"}),
    ("GET", None, {"Range": "bytes=0-1"}),
    ("GET", None, {"Accept": "text/event-stream"}),
    ("GET", None, {"Accept": "application/cbor-seq", "Last-Event-ID": "{uri}-1"}),
    ("GET", None, {"Accept": "application/restms+cbor"}),
    ("GET", None, {"Accept": "image/png"}),
    ("GET", None, {"query": "?messages=5", "Prefer": "wait=0"}),
    ("GET", None, {"query": "?nonsense=5"}),
    ("PUT", '<restms><pipe title="Mine"/></restms>', {}),
    ("PUT", '<restms><feed title="Mine"/></restms>', {}),
    ("PUT", '<restms><feed title="Mine"/></restms>', {"If-Match": '"0-xml"'}),
    ("PUT", None, {}),
    ("POST", f'<restms><join feed="{NEWS}"/></restms>', {}),
    ("POST", '<restms><join feed="/restms/feed/missing"/></restms>', {}),
    ("POST", '<restms><join feed="/restms/feed/default"/></restms>', {}),
    ("PATCH", "x", {}),
    ("OPTIONS", None, {}),
    ("DELETE", None, {"If-Match": '"0-xml"'}),
    ("DELETE", None, {}),
]
NAMING = [
    ('<restms><message><content href="{uri}"/></message></restms>', {}),
    (
        '<restms><message><content href="{uri}"/></message></restms>',
        {"Idempotency-Key": "{uri}"},
    ),
]


def seen(
    nodes: Nodes,
    node: int,
    method: str,
    uri: str,
    body: str | None,
    headers: Mapping[str, str],
    about: str = "",
) -> tuple[int, str, list[tuple[str, str]]]:
    """All that bob could learn from an answer, without the secret that he asked with."""
    filled = {name: value.format(uri=about or uri) for name, value in headers.items()}
    body = body and body.replace("{uri}", about)
    asked = uri + filled.pop("query", "")
    answer = nodes.send(method, asked, body, by="bob", node=node, X_Request_Id="r", **filled)
    told = [
        (name, SECRET.sub("…", value))
        for name, value in answer.headers.items()
        if name not in OF_NO_CONSEQUENCE
    ]
    return answer.status_code, SECRET.sub("…", answer.text), sorted(told)


def others(uri: str) -> list[str]:
    """URIs like that one which nobody was ever given, as alice or nobody might have made."""
    made = secrets.token_hex(16)
    return [SECRET.sub(made + tag, uri) for tag in ("", owner_tag("alice"))]


@pytest.mark.parametrize("node", [0, 1], ids=["lane", "no-lane"])
@pytest.mark.parametrize("what", Estate("", "", "", "").uris)
def test_anothers_is_answered_as_what_never_was(
    nodes: Nodes, estate: Estate, what: str, node: int
) -> None:
    uri = estate.uris[what]
    for method, body, headers in REQUESTS:
        if what == "private feed" and method == "POST":
            continue  # which is not refused to others
        first = seen(nodes, node, method, uri, body, headers)
        for other in others(uri):
            assert seen(nodes, node, method, other, body, headers) == first, (method, headers)
    assert nodes.send("GET", estate.pipe, by="alice").status_code == 200


@pytest.mark.parametrize("node", [0, 1], ids=["lane", "no-lane"])
@pytest.mark.parametrize(("document", "headers"), NAMING)
def test_anothers_content_cannot_be_named(
    nodes: Nodes, estate: Estate, document: str, headers: dict[str, str], node: int
) -> None:
    first = seen(nodes, node, "POST", NEWS, document, headers, about=estate.content)
    assert first[0] == 404
    for other in others(estate.content):
        assert seen(nodes, node, "POST", NEWS, document, headers, about=other) == first
    assert nodes.send("GET", estate.content, by="alice").text == "text"


def test_all_is_still_there_for_its_owner(nodes: Nodes, estate: Estate) -> None:
    for what, uri in estate.uris.items():
        status = {"next message": 204, "message that cannot be": 404}.get(what, 200)
        for node in (0, 1):
            answer = nodes.send("GET", uri, by="alice", node=node, Prefer="wait=0")
            assert answer.status_code == status, what
    listed = nodes.send("GET", estate.pipe, by="alice").text
    assert estate.join.rpartition("/")[2] in listed
    assert "Mine" not in listed


def test_a_tag_cannot_be_exchanged_or_taken_off(nodes: Nodes, estate: Estate) -> None:
    stem = estate.pipe.removesuffix(owner_tag("alice"))
    assert len(estate.pipe) - len(stem) == 16
    for by, tag in itertools.product(("bob", "alice"), ("", owner_tag("bob"))):
        answer = nodes.send("GET", stem + tag, by=by)
        # With whatever tag alice finds her own, and bob his, which is not there.
        assert answer.status_code == (200 if by == "alice" and tag else 404)


def test_a_private_feed_may_be_handed_on(nodes: Nodes, estate: Estate) -> None:
    pipe = nodes.pipe(by="bob")
    nodes.join(pipe, estate.feed, by="bob", address="a")
    nodes.publish(estate.feed, "a", by="carol")
    assert nodes.send("GET", f"{pipe}-1", by="bob").status_code == 200
    assert nodes.send("GET", estate.feed, by="bob").status_code == 404
    assert nodes.send("DELETE", estate.feed, by="bob").status_code == 200  # as what is not there
    assert nodes.send("GET", estate.feed, by="alice").status_code == 200


def test_a_pipe_by_its_name_is_still_an_address(nodes: Nodes, estate: Estate) -> None:
    nodes.publish("/restms/feed/default", estate.pipe.rpartition("/")[2], by="bob")
    assert nodes.send("GET", f"{estate.pipe}-2", by="alice").status_code == 200
    assert nodes.send("DELETE", f"{estate.pipe}-2", by="bob").status_code == 200
    assert nodes.send("GET", f"{estate.pipe}-2", by="alice").status_code == 200
    assert nodes.send("DELETE", f"{estate.pipe}-2", by="alice").status_code == 200
    assert nodes.send("GET", f"{estate.pipe}-2", by="alice").status_code == 404


def test_what_nobody_known_has_made_is_for_who_knows_it() -> None:
    rules = read_rules(
        [{"principal": "anonymous", "verbs": ["subscribe"], "domain": "lobby", "feed": "*"}],
        {"lobby"},
    )
    with Nodes(rules) as nodes:
        pipe = nodes.pipe(domain="lobby")
        assert len(SECRET.findall(pipe)[0]) == 32
        for by in ("", "alice", "bob"):
            assert nodes.send("GET", pipe, by=by).status_code == 200
        mine = nodes.pipe(by="alice", domain="lobby")
        assert [nodes.send("GET", mine, by=by).status_code for by in ("", "bob")] == [404, 404]
