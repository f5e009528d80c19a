"""The audit log, and the names of requests."""

import json
import logging
import re
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restms_cluster.errors import ForbiddenError, StartError
from restms_node import audit as audit_module
from restms_node.audit import Audit, opened
from restms_node.exchange import Request
from restms_node.front import shortened
from restms_node.principals import Principal
from restms_node.refusals import request_id
from restms_node.rules import read_rules
from restms_node.uris import Uris
from tests.access.nodes import Nodes

RULES = [
    {"group": "makers", "verbs": ["configure"], "domain": "default", "feed": "*"},
    {"group": "staff", "verbs": ["publish"], "domain": "default", "feed": "*"},
    {
        "principal": "alice",
        "verbs": ["configure", "publish", "subscribe"],
        "domain": "default",
        "feed": "*",
    },
    {"principal": "bob", "verbs": ["subscribe"], "domain": "default", "feed": "news"},
]
DOMAIN, NEWS = "/restms/domain/default", "/restms/feed/news"
SECRET = re.compile(r"[0-9a-f]{32}")
LANES = pytest.mark.parametrize("node", [0, 1], ids=["lane", "no-lane"])


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with Nodes(read_rules(RULES, {"default"})) as some:
        some.feed(by="alice", name="news")
        yield some


@LANES
@pytest.mark.parametrize(
    ("by", "method", "status", "reason"),
    [
        ("", "POST", 401, "no_rule"),
        ("bob", "POST", 403, "no_rule"),
        ("bob", "DELETE", 403, "no_rule"),
        (";", "GET", 401, "unauthorized"),
    ],
)
def test_every_refusal_has_a_line(
    nodes: Nodes, node: int, by: str, method: str, status: int, reason: str
) -> None:
    before = len(nodes.audited)
    body = '<restms><message address="a"/></restms>' if method == "POST" else None
    answer = nodes.send(method, NEWS, body, by=by, node=node)
    assert answer.status_code == status
    (line,) = nodes.audited[before:]
    assert (line["event"], line["status"], line["reason"]) == ("refused", status, reason)
    assert (line["principal"], line["method"], line["resource"]) == (
        by.strip(";"),
        method,
        NEWS,
    )
    assert line.get("verb") == {"POST": "publish", "DELETE": "configure"}.get(method)
    assert line["authenticated_by"] == ("plain" if by == "bob" else "none")
    assert line["address"] == "127.0.0.1"
    assert line["request_id"] == answer.headers["x-request-id"]
    assert line["text"] == answer.text.strip()


def test_every_change_has_a_line(nodes: Nodes) -> None:
    before = len(nodes.audited)
    feed = nodes.feed(by="alice", name="changing")
    nodes.send("PUT", feed, '<restms><feed title="T"/></restms>', by="alice")
    private = nodes.feed(by="alice")
    pipe = nodes.pipe(by="alice")
    nodes.send("PUT", pipe, '<restms><pipe title="T"/></restms>', by="alice")
    join = nodes.join(pipe, feed, by="alice")
    nodes.publish(feed, "a", by="alice")  # changes nothing that was configured
    nodes.send("GET", pipe, by="alice")
    for uri in (join, pipe, private, feed):
        named = nodes.send("DELETE", uri, by="alice", X_Request_Id="my-own/1").headers
        assert named["x-request-id"] == "my-own/1"
    lines = nodes.audited[before:]
    assert [(line["event"], line["noun"]) for line in lines] == [
        *(("created", "feed"), ("changed", "feed"), ("created", "feed")),
        *(("created", "pipe"), ("changed", "pipe"), ("created", "join")),
        *(("deleted", "join"), ("deleted", "pipe"), ("deleted", "feed"), ("deleted", "feed")),
    ]
    assert {line["principal"] for line in lines} == {"alice"}
    assert {line["request_id"] for line in lines[-4:]} == {"my-own/1"}
    assert lines[0]["resource"] == "/restms/feed/changing"
    assert not any(SECRET.search(json.dumps(line)) for line in lines)


@LANES
def test_what_is_anothers_has_a_line_though_it_is_not_found(nodes: Nodes, node: int) -> None:
    pipe = nodes.pipe(by="alice")
    before = len(nodes.audited)
    for method, uri in (("GET", f"{pipe}-1"), ("DELETE", f"{pipe}-1"), ("GET", pipe)):
        answer = nodes.send(method, uri, by="bob", node=node, X_Request_Id="x")
        assert answer.status_code == (200 if method == "DELETE" else 404)
    lines = nodes.audited[before:]
    assert {(line["status"], line["reason"]) for line in lines} == {(404, "not_owner")}
    assert len(lines) == 3
    assert not any(SECRET.search(json.dumps(line)) for line in lines)


def test_what_changes_nothing_is_not_told_as_a_change(nodes: Nodes) -> None:
    pipe, feed = nodes.pipe(by="alice"), nodes.feed(by="alice", name="there")
    private, join = nodes.feed(by="alice"), nodes.join(pipe, feed, by="alice")
    before = len(nodes.audited)
    nodes.feed(by="alice", name="there")
    nodes.join(pipe, feed, by="alice")
    for uri in (pipe, private, join):
        assert nodes.send("DELETE", uri, by="bob;makers").status_code == 200
    told = [(line["event"], line["principal"]) for line in nodes.audited[before:]]
    assert told == [("refused", "bob")] * 3
    for uri in (join, private, pipe, feed):
        for _ in range(2):
            assert nodes.send("DELETE", uri, by="alice").status_code == 200
    assert [line["event"] for line in nodes.audited[before + 3 :]] == ["deleted"] * 4


@LANES
def test_a_content_of_ones_own_is_not_told_of_however_it_is_written(
    nodes: Nodes, node: int
) -> None:
    feed = nodes.feed(by="alice", name="letters")
    content = nodes.made(feed, "text", by="alice", Content_Type="text/plain")
    stem, _, name = content.rpartition("/")
    written = f"{stem}/" + "".join(f"%{ord(character):x}" for character in name)
    document = f'<restms><message><content href="{written}"/></message></restms>'
    before = len(nodes.audited)
    assert nodes.send("POST", feed, document, by="carol;staff", node=node).status_code == 404
    assert nodes.send("POST", feed, document, by="alice", node=node).status_code == 200
    (line,) = nodes.audited[before:]
    assert (line["principal"], line["reason"]) == ("carol", "not_owner")
    assert name[:4] in line["resource"]
    assert not SECRET.search(json.dumps(line))


@LANES
def test_methods_that_there_are_not_are_asked_for_by_somebody(nodes: Nodes, node: int) -> None:
    before = len(nodes.audited)
    told = [nodes.send("PROPFIND", NEWS, by=by, node=node) for by in ("", ";", "bob", "alice")]
    assert [answer.status_code for answer in told] == [401, 401, 403, 403]
    assert "DELETE" in told[-1].headers["allow"]
    lines = nodes.audited[before:]
    assert [line["principal"] for line in lines] == ["", "", "bob", "alice"]
    assert {line["address"] for line in lines} == {"127.0.0.1"}


@LANES
def test_a_head_that_is_refused_has_a_name(nodes: Nodes, node: int) -> None:
    twice = [("Authorization", "Bearer alice"), ("Authorization", "Bearer bob")]
    answer = httpx.get(nodes.url(f"{nodes.pipe(by='alice')}-1", node), headers=twice)
    assert (answer.status_code, len(answer.headers["x-request-id"])) == (400, 16)


def test_a_public_feed_of_another_has_a_line(nodes: Nodes) -> None:
    feed = nodes.feed(by="alice", name="hers")
    before = len(nodes.audited)
    assert nodes.send("DELETE", feed, by="carol;makers").status_code == 403
    (line,) = nodes.audited[before:]
    assert (line["principal"], line["status"], line["reason"]) == ("carol", 403, "not_owner")


def test_to_name_anothers_content_has_a_line(nodes: Nodes) -> None:
    feed = nodes.feed(by="alice", name="letters")
    content = nodes.made(feed, "text", by="alice", Content_Type="text/plain")
    document = f'<restms><message><content href="{content}"/></message></restms>'
    before = len(nodes.audited)
    assert nodes.send("POST", feed, document, by="carol;staff").status_code == 404
    assert nodes.send("POST", feed, document, by="alice").status_code == 200
    (line,) = nodes.audited[before:]
    assert (line["principal"], line["reason"]) == ("carol", "not_owner")
    assert not SECRET.search(json.dumps(line))


@LANES
@pytest.mark.parametrize("given_", ["", "two words", "x" * 129, "caf\u00e9", "a;b", 'a"b'])
def test_a_name_that_is_not_sane_is_not_taken(nodes: Nodes, node: int, given_: str) -> None:
    headers = {"X-Request-Id": given_.encode()} if given_ else {}
    answer = nodes.send(
        "GET", "/restms/resource/p" + 32 * "0" + "-1", by="bob", node=node, **headers
    )
    assert answer.status_code == 404
    assert re.fullmatch("[0-9a-f]{16}", answer.headers["x-request-id"])


def test_without_authentication_errors_have_names_all_the_same() -> None:
    with Nodes(None) as nodes:
        for node in (0, 1):
            answer = nodes.send("GET", "/restms/resource/p" + 32 * "0" + "-1", node=node)
            assert (answer.status_code, len(answer.headers["x-request-id"])) == (404, 16)
        assert "x-request-id" not in nodes.send("GET", DOMAIN).headers
        assert nodes.audited == []


def asked(**said: object) -> Request:
    how = {"method": "GET", "path": "/", "headers": {}, "uris": Uris("http://host"), **said}
    return Request(**how)  # type: ignore[arg-type]


@given(st.text(), st.text(), st.text())
def test_nothing_that_is_sent_can_forge_a_line(path: str, name: str, method: str) -> None:
    lines: list[str] = []
    logger = logging.getLogger("tests.forging")
    logger.handlers, logger.propagate = [handler := logging.Handler()], False
    logger.setLevel("INFO")
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    request = asked(path=path, method=method, principal=Principal(name))
    Audit(logger).refused(request, request_id(request), status=403, reason="no_rule", text=path)
    (line,) = lines
    assert line.isascii()
    assert line.isprintable()
    assert len(line) < 10_000
    assert set(json.loads(line)) >= {"time", "event", "principal", "resource", "request_id"}


def test_a_flood_of_refusals_is_counted_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[dict[str, object]] = []
    logger = logging.getLogger("tests.flood")
    logger.handlers, logger.propagate = [handler := logging.Handler()], False
    logger.setLevel("INFO")
    handler.emit = lambda record: lines.append(  # type: ignore[method-assign]
        json.loads(record.getMessage())
    )
    now = 1_000_000.0
    monkeypatch.setattr(audit_module.time, "time", lambda: now)
    audit = Audit(logger)
    for _ in range(audit_module.REFUSALS_A_SECOND + 7):
        audit.refused(asked(), "id", status=401, reason="no_rule")
    audit.changed(asked(), "id", event="created", noun="feed", uri="/", status=201)
    assert len(lines) == audit_module.REFUSALS_A_SECOND + 1  # no change is left out
    now += 1
    audit.refused(asked(), "id", status=401, reason="no_rule")
    assert lines[-2]["event"] == "left_out"
    assert lines[-2]["lines"] == 7
    assert lines[-1]["event"] == "refused"


def test_a_file_is_appended_to_and_made_anew_when_it_was_moved(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.write_text("before\n")
    with opened(path) as audit:
        audit.refused(asked(), "one", status=403, reason="no_rule")
    first, second = path.read_text().splitlines()
    assert (first, json.loads(second)["request_id"]) == ("before", "one")
    with opened(path) as audit:
        path.rename(tmp_path / "audit.log.1")
        audit.refused(asked(), "two", status=403, reason="no_rule")
    assert json.loads(path.read_text())["request_id"] == "two"


def test_a_new_file_is_for_whoever_runs_the_server_alone(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    with opened(path):
        assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)  # as somebody wants it who reads it
    with opened(path) as audit:
        audit.refused(asked(), "one", status=403, reason="no_rule")
    assert path.stat().st_mode & 0o777 == 0o640


def test_behind_a_trusted_proxy_the_client_is_told_as_well(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    told = {"x-forwarded-for": "203.0.113.9, 198.51.100.7"}
    with opened(path, [ip_network("10.0.0.0/8")]) as audit:
        for peer in ("10.0.0.1", "192.0.2.1"):
            one = Request("GET", "/", told, Uris("http://x"), peer=peer)
            audit.refused(one, "id", status=403, reason="no_rule")
    behind, direct = (json.loads(line) for line in path.read_text().splitlines())
    assert (behind["address"], behind["client"]) == ("10.0.0.1", "198.51.100.7")
    assert (direct["address"], "client" in direct) == ("192.0.2.1", False)


def test_a_file_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="cannot be written"), opened(tmp_path / "no" / "file"):
        pass


def test_without_a_file_it_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with opened(None) as audit:
        audit.refused(asked(), "one", status=403, reason="no_rule", text=str(ForbiddenError("No.")))
    assert json.loads(capsys.readouterr().err)["text"] == "No."


@given(st.text("0123456789abcdefABCDEF", min_size=16, max_size=60), st.text(max_size=5))
def test_no_secret_and_no_piece_of_one_is_told(secret: str, around: str) -> None:
    assert secret not in shortened(f"{around}{secret}{around}")
    assert not re.search("[0-9a-fA-F]{16}", shortened(f"{around}{secret}"))
