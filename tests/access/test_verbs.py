"""Who may do what: the table of docs/security.md, over real nodes."""

import re
import tomllib
from collections.abc import Iterator

import pytest

from restms_node.rules import read_rules
from tests.access.nodes import CHALLENGE, Nodes

RULES = """
[[rule]]
principal = "owner"
verbs = ["configure", "publish", "subscribe"]
domain = "*"
feed = "*"
"""
VERBS = ("configure", "publish", "subscribe", "inspect")
for _verb in VERBS:
    RULES += f"""
[[rule]]
group = "{_verb}"
verbs = ["{_verb}"]
domain = "default"
feed = "news*"

[[rule]]
group = "{_verb}-private"
verbs = ["{_verb}"]
domain = "default"
feed = "~"
"""
RULES += """
[[rule]]
principal = "anonymous"
verbs = ["subscribe"]
domain = "lobby"
feed = "open"
"""

DOMAIN, SALES, LOBBY = (f"/restms/domain/{name}" for name in ("default", "sales", "lobby"))
NEWS, OTHER, MISSING = "/restms/feed/news", "/restms/feed/other", "/restms/feed/missing"
MESSAGE = '<restms><message address="a"/></restms>'
NEW_FEED = '<restms><feed name="{}"/></restms>'
PIPE = "<restms><pipe/></restms>"
TITLE = '<restms><feed title="T"/></restms>'


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with Nodes(read_rules(tomllib.loads(RULES)["rule"], {"default", "sales", "lobby"})) as some:
        for name in ("news", "other"):
            some.feed(by="owner", name=name)
        yield some


WITH = {
    # method, resource, body: the verbs of which one is needed, on news*, or anything in its domain
    ("GET", DOMAIN, None): VERBS,
    ("HEAD", DOMAIN, None): VERBS,
    ("GET", "/restms/profile/3/Defaults", None): VERBS,
    ("POST", DOMAIN, NEW_FEED.format("news2")): ("configure",),
    ("POST", DOMAIN, PIPE): ("subscribe",),
    ("GET", NEWS, None): VERBS,
    ("HEAD", NEWS, None): VERBS,
    ("POST", NEWS, MESSAGE): ("publish",),
    ("POST", NEWS, "a content"): ("publish",),
    ("POST", NEWS, b"\xa1\x67address\x61a"): ("publish",),
    ("PUT", NEWS, TITLE): ("configure",),
    ("DELETE", NEWS, None): ("configure",),
    ("GET", OTHER, None): (),
    ("POST", OTHER, MESSAGE): (),
    ("PUT", OTHER, TITLE): (),
    ("DELETE", OTHER, None): (),
    ("POST", DOMAIN, NEW_FEED.format("mine")): (),
    ("POST", DOMAIN, NEW_FEED.format("")): (),
    ("GET", SALES, None): (),
    ("POST", SALES, PIPE): (),
    ("GET", "/restms/feed/sales/orders", None): (),
}


@pytest.mark.parametrize("node", [0, 1], ids=["lane", "no-lane"])
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(("request_", "enough"), WITH.items(), ids=lambda one: str(one)[:60])
def test_each_request_needs_its_verb(
    nodes: Nodes,
    request_: tuple[str, str, str | bytes | None],
    enough: tuple[str, ...],
    verb: str,
    node: int,
) -> None:
    method, uri, body = request_
    kind = {"a content": "text/plain", b"\xa1\x67address\x61a": "application/cbor-seq"}
    headers = {"Content-Type": kind[body]} if body in kind else {}
    answer = nodes.send(method, uri, body, by=f"one;{verb}", node=node, **headers)
    if verb in enough:
        # Who has the verb may do it, but for what is another's.
        owned = method in ("PUT", "DELETE")
        assert answer.status_code == 403 if owned else answer.status_code in (200, 201), answer.text
        assert not owned or "Only who made this feed" in answer.text
    else:
        assert answer.status_code == 403
        assert answer.headers["restms-error"] == "forbidden" or method == "HEAD"
        assert method == "HEAD" or answer.text.startswith(("No rule lets you", "No rule"))


@pytest.mark.parametrize("request_", WITH, ids=lambda one: str(one)[:60])
def test_who_is_not_known_is_asked_who_he_is(
    nodes: Nodes, request_: tuple[str, str, str | bytes | None]
) -> None:
    method, uri, body = request_
    answer = nodes.send(method, uri, body)
    if "profile" in uri:  # everybody may do something here
        assert answer.status_code == 200
    else:
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == CHALLENGE


def test_what_everybody_may_do_needs_no_credentials(nodes: Nodes) -> None:
    assert nodes.send("GET", LOBBY).status_code == 200
    for by in ("", "one"):
        pipe = nodes.pipe(domain="lobby", by=by)
        nodes.join(pipe, "/restms/feed/lobby/open", by=by)
        nodes.publish("/restms/feed/lobby/open", "", by="owner")
        assert nodes.send("GET", f"{pipe}-1", by=by).status_code in (200, 204)
        assert nodes.send("POST", "/restms/feed/lobby/open", MESSAGE, by=by).status_code in (
            401,
            403,
        )


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_a_refusal_does_not_tell_what_there_is(nodes: Nodes, method: str) -> None:
    body = {"POST": MESSAGE, "PUT": TITLE}.get(method)
    for by in ("one;publish-private", ""):
        answers = [
            nodes.send(method, uri, body, by=by, X_Request_Id="same") for uri in (OTHER, MISSING)
        ]
        assert {answer.status_code for answer in answers} == {403 if by else 401}
        there, missing = (answer.text.replace("missing", "other") for answer in answers)
        assert there == missing


@pytest.mark.parametrize("verb", VERBS)
def test_joining_needs_subscribe_on_the_feed(nodes: Nodes, verb: str) -> None:
    pipe = nodes.pipe(by="joiner;subscribe-private")  # may subscribe to something there
    by = f"joiner;subscribe-private,{verb}"
    answer = nodes.send("POST", pipe, f'<restms><join feed="{NEWS}"/></restms>', by=by)
    assert answer.status_code == (201 if verb == "subscribe" else 403), answer.text
    answer = nodes.send("POST", pipe, f'<restms><join feed="{OTHER}"/></restms>', by=by)
    assert answer.status_code == 403


@pytest.mark.parametrize("verb", VERBS)
def test_a_dead_letter_feed_is_one_that_one_may_publish_to(nodes: Nodes, verb: str) -> None:
    by = f"maker-{verb};configure,{verb}"
    document = f'<restms><feed name="news-{verb}" dead_letter="{{}}"/></restms>'
    mine = nodes.feed(by=by, name=f"news-{verb}")
    change = f'<restms><feed dead_letter="{NEWS}"/></restms>'
    status = 200 if verb == "publish" else 403
    assert nodes.send("POST", DOMAIN, document.format(NEWS), by=by).status_code == status
    assert nodes.send("PUT", mine, change, by=by).status_code == status
    assert nodes.send("POST", DOMAIN, document.format(OTHER), by=by).status_code == 403


@pytest.mark.parametrize("verb", VERBS)
def test_private_feeds_have_rules_of_their_own(nodes: Nodes, verb: str) -> None:
    private = nodes.feed(by="owner")
    by = f"guest;subscribe,{verb}-private"
    posted = nodes.send("POST", private, MESSAGE, by=by)
    assert posted.status_code == (200 if verb == "publish" else 403)
    pipe = nodes.pipe(by=by)
    joined = nodes.send("POST", pipe, f'<restms><join feed="{private}"/></restms>', by=by)
    assert joined.status_code == (201 if verb == "subscribe" else 403)
    # Handed on or not, it is its owner's: for others there is nothing to see or change.
    assert nodes.send("GET", private, by=by).status_code == 404
    changed = nodes.send("PUT", private, TITLE, by=by)
    assert changed.status_code == (404 if verb == "configure" else 403)
    nodes.send("DELETE", private, by=by)
    assert nodes.send("GET", private, by="owner").status_code == 200


def test_a_domain_lists_what_one_may_do_something_with(nodes: Nodes) -> None:
    def listed(by: str) -> set[str]:
        text = nodes.send("GET", DOMAIN, by=by).text
        return {name for name in ("default", "news", "other") if f'feed name="{name}"' in text}

    assert listed("owner") == {"default", "news", "other"}
    assert listed("one;inspect") == listed("one;publish") == {"news"}
    assert "private" in nodes.send("GET", DOMAIN, by="owner").headers["cache-control"]
    etag = nodes.send("GET", DOMAIN, by="owner").headers["etag"]
    for by, status in (("owner", 304), ("one;inspect", 200)):
        assert nodes.send("GET", DOMAIN, by=by, If_None_Match=etag).status_code == status


def test_a_dead_letter_feed_is_shown_to_who_may_see_it(nodes: Nodes) -> None:
    document = f'<restms><feed name="news-dying" dead_letter="{OTHER}"/></restms>'
    feed = nodes.made(DOMAIN, document, by="owner")
    for uri in (feed, DOMAIN):
        assert OTHER in nodes.send("GET", uri, by="owner").text
        answer = nodes.send("GET", uri, by="one;inspect")
        assert "news-dying" in answer.text
        assert OTHER not in answer.text
        assert "Authorization" in answer.headers["vary"]
    assert OTHER not in nodes.send("POST", DOMAIN, document, by="two;configure").text  # it is there


def test_public_feeds_are_changed_by_who_made_them(nodes: Nodes) -> None:
    feed = nodes.feed(by="maker;configure", name="news-of-the-maker")
    for method, body in (("PUT", TITLE), ("PUT", None), ("DELETE", None)):
        answer = nodes.send(method, feed, body, by="taker;configure")
        assert (answer.status_code, answer.headers["restms-error"]) == (403, "forbidden")
        assert "Only who made this feed" in answer.text
    assert nodes.feed(by="taker;configure", name="news-of-the-maker") == feed  # it is there
    assert nodes.send("PUT", feed, TITLE, by="maker;configure").status_code == 200
    assert nodes.send("DELETE", feed, by="maker;configure").status_code == 200
    assert nodes.send("GET", feed, by="maker;configure").status_code == 404


def test_methods_that_there_are_not_and_options(nodes: Nodes) -> None:
    assert nodes.send("OPTIONS", OTHER).status_code == 200
    assert nodes.send("PATCH", OTHER, by="owner").status_code == 403
    assert nodes.send("GET", "/nowhere", by="owner").status_code == 404
    assert nodes.send("GET", "/livez").status_code == 200


def test_a_user_id_is_the_publishers_own(nodes: Nodes) -> None:
    document = '<restms><message address="a" user_id="{}"/></restms>'
    for user, status in (("one", 200), ("two", 403)):
        answer = nodes.send("POST", NEWS, document.format(user), by="one;publish")
        assert answer.status_code == status
    items = b"\xa2\x67address\x61a\x67user_id\x63two"
    answer = nodes.send("POST", NEWS, items, by="one;publish", Content_Type="application/cbor-seq")
    assert (answer.status_code, answer.headers["restms-routed"]) == (403, "0")
    mine = items.replace(b"two", b"one")
    answer = nodes.send("POST", NEWS, mine, by="one;publish", Content_Type="application/cbor-seq")
    assert (answer.status_code, answer.headers["restms-routed"]) == (200, "1")


def test_the_key_of_a_request_is_known_to_who_made_it_only(nodes: Nodes) -> None:
    document = '<restms><message address="{}"/></restms>'
    for by in ("one;publish", "two;publish"):  # the same key, for other requests
        for _ in range(2):
            answer = nodes.send("POST", NEWS, document.format(by[:3]), by=by, Idempotency_Key="k")
            assert answer.status_code == 200
    answer = nodes.send("POST", NEWS, document.format("x"), by="one;publish", Idempotency_Key="k")
    assert answer.status_code == 422
    contents = {
        re.sub(
            "^http://[^/]*",
            "",
            nodes.made(NEWS, "text", by=by, Idempotency_Key="c", Content_Type="text/plain"),
        )
        for by in ("one;publish", "one;publish", "two;publish")
    }
    assert len(contents) == 2
