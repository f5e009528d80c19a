"""Section 2: RestTL, the transport: creating, conditions, waits for change, types, errors, HTTP."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime

import pytest

from tests.conformance.client import DEFAULT_FEED, DOMAIN, Client, expect, unique
from tests.conformance.conftest import ADDRESS, CONTENT_BYTES, DOCUMENT_BYTES, ORIGIN, resource
from tests.conformance.documents import CBOR, JSON, TEXT_XML, XML, Format, message, restms, text
from tests.conformance.wire import Wire

YESTERDAY = format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True)
TOMORROW = format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True)

DELETABLE = ["feed", "pipe", "join", "message", "content"]


@pytest.fixture(params=["domain", "feed", "pipe", "join", "message"])
def described(request: pytest.FixtureRequest, broker: Client, feed: str, pipe: str) -> str:
    """A resource of each type that has a description."""
    return resource(request.param, broker, feed, pipe)


@pytest.fixture(params=["feed", "pipe"])
def changed(request: pytest.FixtureRequest, feed: str, pipe: str) -> tuple[str, str]:
    """The noun and URI of each resource that PUT can change."""
    return request.param, feed if request.param == "feed" else pipe


# The methods


def test_post_creates_and_answers_with_location_and_description(broker: Client, feed: str) -> None:
    """Section 2: POST creates: 201 with `Location`, and the full description as body."""
    posts = [
        (DOMAIN, restms(feed=[{"name": unique("news"), "title": "News"}])),
        (DOMAIN, restms(pipe=[{"title": "Mine"}])),
        (broker.create_pipe(), restms(join=[{"feed": feed, "address": ADDRESS}])),
    ]
    for uri, document in posts:
        response = expect(broker.post(uri, document), 201)
        read = broker.get(response.headers["Location"])
        created, now = broker.document(response), broker.document(read)
        # Each node is asked under its own host, which stands in its URIs.
        assert _without_hosts(created) == _without_hosts(now)


def test_put_updates_and_answers_with_the_description(
    broker: Client, changed: tuple[str, str]
) -> None:
    """Section 2: PUT updates: 200."""
    noun, uri = changed
    response = expect(broker.put(uri, restms(**{noun: [{"title": "New"}]})), 200)
    assert broker.document(response)[noun][0]["title"] == "New"


def test_put_with_an_empty_body_is_204(broker: Client, changed: tuple[str, str]) -> None:
    """Section 2: PUT is 204 where the body is empty and nothing changed."""
    _, uri = changed
    before = broker.get(uri)
    expect(broker.put(uri), 204)
    assert broker.on(0).get(uri).headers["ETag"] == before.headers["ETag"]


@pytest.mark.ours
def test_head_answers_as_get_without_a_body(broker: Client, described: str) -> None:
    """Section 2: HEAD has the headers that GET would have, and no body."""
    one = broker.on(0)
    got, head = expect(one.get(described), 200), expect(one.head(described), 200)
    assert head.content == b""
    for name in ("Content-Type", "Content-Length", "ETag", "Last-Modified", "Date-Modified"):
        assert head.headers[name] == got.headers[name]


@pytest.mark.ours
def test_head_never_waits(broker: Client, pipe: str) -> None:
    """Section 2: HEAD on an asynclet is 204 at once, and so is one that awaits a change."""
    later = broker.head(broker.asynclet(pipe), prefer="wait=5")
    assert expect(later, 204).elapsed < timedelta(seconds=3)
    tag = broker.get(pipe).headers["ETag"]
    unchanged = broker.head(pipe, when_none_match=tag, prefer="wait=5")
    assert expect(unchanged, 204).elapsed < timedelta(seconds=3)


@pytest.mark.ours
def test_options_tells_what_is_allowed(broker: Client, feed: str, pipe: str) -> None:
    """Section 2: OPTIONS answers with the methods of the resource in `Allow`."""
    wanted = {
        DOMAIN: {"GET", "HEAD", "OPTIONS", "POST"},
        feed: {"GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE"},
        pipe: {"GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE"},
        broker.asynclet(pipe): {"GET", "HEAD", "OPTIONS", "DELETE"},
    }
    for uri, methods in wanted.items():
        allow = expect(broker.options(uri), 200, 204).headers["Allow"]
        assert set(re.split(r",\s*", allow)) == methods


@pytest.mark.ours
def test_cors_lets_a_configured_page_in(small: Client) -> None:
    """Section 2: CORS behaves as the web expects, for the origins that the server was told of."""
    origin = ORIGIN
    pipe = small.create_pipe()
    seen = expect(small.get(pipe, origin=origin), 200).headers
    assert seen["Access-Control-Allow-Origin"] in ("*", origin)
    assert "location" in seen["Access-Control-Expose-Headers"].lower()
    preflight = small.options(
        pipe,
        origin=origin,
        access_control_request_method="DELETE",
        access_control_request_headers="if-match",
    )
    allowed = expect(preflight, 200, 204).headers
    assert "DELETE" in allowed["Access-Control-Allow-Methods"]
    assert "if-match" in allowed["Access-Control-Allow-Headers"].lower()


@pytest.mark.ours
def test_cors_keeps_other_pages_out(small: Client) -> None:
    """Section 2: a page of an origin that the server was not told of sees nothing."""
    answer = expect(small.get(DOMAIN, origin="http://evil.example"), 200)
    assert "Access-Control-Allow-Origin" not in answer.headers


# Validators and conditions


def test_description_carries_etag_and_dates(broker: Client, described: str) -> None:
    """Section 2: every description carries `ETag`, `Last-Modified` and `Date-Modified`."""
    headers = expect(broker.get(described), 200).headers
    assert re.fullmatch(r'(W/)?"[^"]+"', headers["ETag"])
    assert headers["Date-Modified"] == headers["Last-Modified"]
    modified = parsedate_to_datetime(headers["Last-Modified"])
    assert modified <= datetime.now(UTC) + timedelta(seconds=5)


def test_etag_differs_per_mime_type(broker: Client, described: str) -> None:
    """Section 2: the ETag of a resource differs from one MIME type to another."""
    formats = (XML, JSON, TEXT_XML)
    tags = [broker.get(described, accept=format.media_type).headers["ETag"] for format in formats]
    assert len(set(tags)) == len(formats)


def test_etag_changes_with_the_resource_alone(broker: Client, changed: tuple[str, str]) -> None:
    """Section 2: an ETag stays while nothing changes, on every node, and changes with a PUT."""
    noun, uri = changed
    before = [broker.get(uri).headers["ETag"] for _ in range(2)]
    assert len(set(before)) == 1
    broker.put(uri, restms(**{noun: [{"title": "New"}]}))
    assert broker.get(uri).headers["ETag"] != before[0]


def test_pipe_etag_changes_with_its_joins_and_messages(broker: Client, feed: str) -> None:
    """Section 2: what a pipe's description lists is a part of what its ETag stands for."""
    pipe = broker.create_pipe()
    tags = [broker.get(pipe).headers["ETag"]]
    broker.join(pipe, feed, ADDRESS)
    tags.append(broker.get(pipe).headers["ETag"])
    broker.publish(feed, message(ADDRESS))
    tags.append(broker.get(pipe).headers["ETag"])
    broker.acknowledge(broker.messages(pipe)[0])
    tags.append(broker.get(pipe).headers["ETag"])
    assert len(set(tags)) == len(tags)


def test_if_none_match_of_a_current_copy_is_304(broker: Client, described: str) -> None:
    """Section 2: a GET with `If-None-Match` is 304, without a body, where the copy is current."""
    tag = broker.get(described).headers["ETag"]
    for known in (tag, f'"other", {tag}', "*"):
        unchanged = expect(broker.get(described, if_none_match=known), 304)
        assert unchanged.content == b""
        assert unchanged.headers["ETag"] == tag
    expect(broker.get(described, if_none_match='"other"'), 200)


def test_if_modified_since_of_a_current_copy_is_304(broker: Client, described: str) -> None:
    """Section 2: a GET with `If-Modified-Since` is 304 where nothing has changed since."""
    date = broker.get(described).headers["Last-Modified"]
    expect(broker.get(described, if_modified_since=date), 304)
    expect(broker.get(described, if_modified_since=YESTERDAY), 200)


@pytest.mark.parametrize("described", DELETABLE, indirect=True)
def test_delete_with_an_old_etag_is_412(broker: Client, described: str) -> None:
    """Section 2: DELETE with `If-Match` is 412 where the copy is old, and deletes nothing."""
    refused = expect(broker.delete(described, if_match='"old"'), 412)
    assert refused.headers["Content-Type"].startswith("text/plain")
    tag = expect(broker.get(described), 200).headers["ETag"]
    expect(broker.delete(described, if_match=tag), 200)
    expect(broker.get(described), 404)


@pytest.mark.parametrize("described", DELETABLE, indirect=True)
def test_delete_of_what_has_changed_since_is_412(broker: Client, described: str) -> None:
    """Section 2: DELETE with `If-Unmodified-Since` is 412 where the copy is old."""
    expect(broker.delete(described, if_unmodified_since=YESTERDAY), 412)
    date = expect(broker.get(described), 200).headers["Last-Modified"]
    expect(broker.delete(described, if_unmodified_since=date), 200)
    expect(broker.get(described), 404)


def test_put_with_an_old_etag_is_412(broker: Client, changed: tuple[str, str]) -> None:
    """Section 2: PUT with `If-Match` is 412 where the copy is old, and changes nothing."""
    noun, uri = changed
    old = broker.get(uri).headers["ETag"]
    expect(broker.put(uri, restms(**{noun: [{"title": "First"}]}), if_match=old), 200)
    expect(broker.put(uri, restms(**{noun: [{"title": "Second"}]}), if_match=old), 412)
    assert broker.read(uri)["title"] == "First"


def test_put_of_what_has_changed_since_is_412(broker: Client, changed: tuple[str, str]) -> None:
    """Section 2: PUT with `If-Unmodified-Since` is 412 where the copy is old."""
    noun, uri = changed
    document = restms(**{noun: [{"title": "New"}]})
    expect(broker.put(uri, document, if_unmodified_since=YESTERDAY), 412)
    expect(broker.put(uri, document, if_unmodified_since=TOMORROW), 200)


def test_put_answers_with_the_etag_for_the_next_put(
    broker: Client, changed: tuple[str, str]
) -> None:
    """Section 2: the description that PUT answers with carries the new ETag."""
    noun, uri = changed
    tag = broker.get(uri).headers["ETag"]
    for title in ("First", "Second", "Third"):
        tag = expect(
            broker.put(uri, restms(**{noun: [{"title": title}]}), if_match=tag), 200
        ).headers["ETag"]
    assert broker.read(uri)["title"] == "Third"


@pytest.mark.ours
def test_etag_of_any_mime_type_names_the_version(broker: Client, feed: str) -> None:
    """Section 2: a client may read in one MIME type and write, on the condition, in another."""
    tag = broker.get(feed, accept=JSON.media_type).headers["ETag"]
    expect(broker.put(feed, restms(feed=[{"title": "New"}]), if_match=tag), 200)


def test_check_and_change_are_one_atomic_step(broker: Client, changed: tuple[str, str]) -> None:
    """Section 2: of many PUTs at once with the same `If-Match`, one succeeds, whatever the node."""
    noun, uri = changed
    tag = broker.get(uri).headers["ETag"]
    with ThreadPoolExecutor(8) as writers:
        answers = list(
            writers.map(
                lambda n: broker.put(uri, restms(**{noun: [{"title": f"{n}"}]}), if_match=tag),
                range(8),
            )
        )
    assert sorted(answer.status_code for answer in answers) == [200, *[412] * 7]
    (winner,) = [n for n, answer in enumerate(answers) if answer.status_code == 200]
    assert broker.read(uri)["title"] == str(winner)


# Waiting for a change


@pytest.mark.parametrize("described", ["domain", "feed", "pipe"], indirect=True)
def test_when_none_match_holds_a_get_until_the_change(
    broker: Client, feed: str, pipe: str, described: str
) -> None:
    """Section 2: `When-None-Match` holds a GET until the resource is another, made so anywhere."""
    tag = broker.get(described).headers["ETag"]
    later = broker.on(0).get_later(described, when_none_match=tag)
    if described == DOMAIN:
        # Other clients may change a domain too, so whether it waits cannot be told.
        broker.on(1).create_feed(unique("news"))
    else:
        assert later.waits()
        noun = "feed" if described == feed else "pipe"
        broker.on(1).put(described, restms(**{noun: [{"title": "New"}]}))
    changed = expect(later.answer(), 200)
    assert changed.headers["ETag"] != tag
    if described != DOMAIN:
        assert b"New" in changed.content


def test_when_none_match_of_an_old_copy_is_answered_at_once(broker: Client, described: str) -> None:
    """Section 2: `When-None-Match` with an ETag that is not the current one does not wait."""
    expect(broker.get(described, when_none_match='"old"'), 200)


def test_when_none_match_on_a_pipe_waits_for_messages(broker: Client, feed: str, pipe: str) -> None:
    """Section 2: a message is a change of its pipe."""
    tag = broker.get(pipe).headers["ETag"]
    later = broker.on(0).get_later(pipe, when_none_match=tag)
    assert later.waits()
    broker.on(1).publish(feed, message(ADDRESS))
    expect(later.answer(), 200)
    assert len(broker.messages(pipe)) == 1


def test_when_modified_after_an_earlier_date_is_answered_at_once(
    broker: Client, described: str
) -> None:
    """Section 2: `When-Modified-After` does not wait where the resource has changed since."""
    expect(broker.get(described, when_modified_after=YESTERDAY), 200)


def test_when_modified_after_waits(broker: Client, pipe: str) -> None:
    """Section 2: `When-Modified-After` holds a GET while the resource has not changed since."""
    later = broker.get_later(pipe, when_modified_after=TOMORROW)
    assert later.waits()
    broker.delete(pipe)
    expect(later.answer(), 404)


def test_both_waiting_headers_must_be_true(broker: Client, feed: str) -> None:
    """Section 2: with `When-None-Match` and `When-Modified-After`, a GET waits for both."""
    tag = broker.get(feed).headers["ETag"]
    conditions = [
        ({"when_none_match": '"old"', "when_modified_after": TOMORROW}, True),
        ({"when_none_match": tag, "when_modified_after": YESTERDAY}, False),
    ]
    early, late = (broker.get_later(feed, **headers) for headers, _ in conditions)
    assert early.waits()
    assert late.waits()
    broker.put(feed, restms(feed=[{"title": "New"}]))
    expect(late.answer(), 200)
    assert early.waits()
    broker.delete(feed)
    expect(early.answer(), 404)


@pytest.mark.ours
@pytest.mark.parametrize("described", ["feed", "pipe", "join", "message"], indirect=True)
def test_wait_for_a_change_ends_with_the_resource(broker: Client, described: str) -> None:
    """Section 2: a wait for a change ends with 404 when the resource is deleted, on any node."""
    tag = broker.get(described).headers["ETag"]
    later = broker.on(0).get_later(described, when_none_match=tag)
    assert later.waits()
    broker.on(1).delete(described)
    expect(later.answer(), 404)


@pytest.mark.ours
def test_wait_for_a_change_ends_with_204(broker: Client, described: str) -> None:
    """Section 2: `Prefer: wait` bounds a wait for a change: 204 with `Preference-Applied`."""
    tag = broker.get(described).headers["ETag"]
    headers = {"when_none_match": tag, "when_modified_after": TOMORROW}
    over = expect(broker.get(described, **headers, prefer="wait=0"), 204)
    assert over.headers["Preference-Applied"] == "wait=0"
    assert over.content == b""


@pytest.mark.ours
def test_wait_for_a_change_lasts_as_long_as_preferred(broker: Client, feed: str) -> None:
    """Section 2: a wait for a change lasts as long as `Prefer: wait` says."""
    tag = broker.get(feed).headers["ETag"]
    over = expect(broker.get(feed, when_none_match=tag, prefer="wait=1"), 204)
    assert over.headers["Preference-Applied"] == "wait=1"
    assert timedelta(seconds=0.9) < over.elapsed < timedelta(seconds=5)


def test_asynclet_waits_until_its_resource_exists(broker: Client, feed: str, pipe: str) -> None:
    """Section 2: an asynclet is handed out ahead; GET on it waits until its resource exists."""
    later = broker.on(0).get_later(broker.asynclet(pipe))
    assert later.waits()
    broker.on(1).publish(feed, message(ADDRESS, text("at last")))
    (came,) = broker.document(expect(later.answer(), 200))["message"]
    assert came["content"][0]["value"] == "at last"


# Types


@pytest.mark.parametrize(
    "format", [XML, JSON, TEXT_XML, pytest.param(CBOR, marks=pytest.mark.ours)], ids=str
)
def test_types_that_every_resource_has(broker: Client, described: str, format: Format) -> None:
    """Section 2: descriptions come as RestMS XML or JSON, or `text/xml`, as `Accept` says."""
    response = expect(broker.get(described, accept=format.media_type), 200)
    assert response.headers["Content-Type"].partition(";")[0] == format.media_type
    assert list(format.read(response.content)) == ["restms"]


@pytest.mark.parametrize("accept", ["", "*/*", "text/*"], ids=["none", "any", "any text"])
def test_no_accept_means_text_xml(broker: Client, described: str, accept: str) -> None:
    """Section 2: `text/xml` is also what no `Accept` means."""
    response = expect(broker.get(described, accept=accept), 200)
    assert response.headers["Content-Type"].partition(";")[0] == "text/xml"


@pytest.mark.ours
@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("text/html, application/restms+json", JSON),
        ("application/restms+xml;q=0.5, application/restms+json;q=0.9", JSON),
        ("application/restms+json;q=0.1, application/*", XML),
        ("*/*, text/xml;q=0", XML),
        ("APPLICATION/RESTMS+JSON ; q=1.0", JSON),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", TEXT_XML),
    ],
)
def test_accept_is_understood_with_weights(broker: Client, accept: str, wanted: Format) -> None:
    """Section 2: the full syntax of `Accept`, with weights, is understood."""
    response = expect(broker.get(DOMAIN, accept=accept), 200)
    assert response.headers["Content-Type"].partition(";")[0] == wanted.media_type
    assert "accept" in response.headers["Vary"].lower()


@pytest.mark.parametrize("accept", ["text/html", "image/*", "text/xml;q=0"])
def test_type_that_cannot_be_written_is_501(broker: Client, described: str, accept: str) -> None:
    """Section 2: an `Accept` that no type of ours can meet is 501."""
    expect(broker.get(described, accept=accept), 501)


@pytest.mark.parametrize("media_type", ["application/json", "text/plain", "no type at all"])
def test_type_that_cannot_be_read_is_501(broker: Client, media_type: str) -> None:
    """Section 2: a document of a type that we do not read is 501."""
    headers = {"content-type": media_type}
    for method, uri in (
        ("POST", DOMAIN),
        ("POST", broker.create_pipe()),
        ("PUT", broker.create_pipe()),
    ):
        expect(broker.request(method, uri, body=b"{}", headers=headers), 501)


def test_post_whose_answer_cannot_be_written_makes_nothing(broker: Client) -> None:
    """Section 2: an `Accept` that cannot be met is 501 before anything is changed."""
    name = unique("news")
    expect(broker.post(DOMAIN, restms(feed=[{"name": name}]), accept="text/html"), 501)
    expect(broker.get(f"/restms/feed/{name}"), 404)


@pytest.mark.parametrize("parameters", ["; charset=utf-8", ";charset=UTF-8", "; x=y"])
def test_content_type_may_have_parameters(broker: Client, parameters: str) -> None:
    """Section 2: a structured type is known by its MIME type, whatever parameters follow it."""
    document = restms(pipe=[{}])
    response = broker.post(DOMAIN, document, content_type=XML.media_type + parameters)
    expect(response, 201)


def test_delete_ignores_accept_and_content_type(broker: Client, described: str) -> None:
    """Section 2: `Accept` and `Content-Type` are ignored on DELETE."""
    wanted = 403 if described == DOMAIN else 200
    expect(broker.delete(described, accept="image/png", content_type="image/png"), wanted)


# Errors


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/restms/feed/there-is-no-such-feed", 404),
        ("DELETE", DOMAIN, 403),
        ("POST", DOMAIN, 400),
        ("PUT", DEFAULT_FEED, 403),
    ],
)
def test_errors_are_one_plain_sentence(broker: Client, method: str, path: str, status: int) -> None:
    """Section 2: errors are `text/plain`, one clear sentence, never a stack trace."""
    document = {"POST": restms(), "PUT": restms(feed=[{"title": "x"}])}.get(method)
    refused = expect(broker.request(method, path, document), status)
    assert refused.headers["Content-Type"].startswith("text/plain")
    assert re.fullmatch(r"[A-Z][^\n]{5,300}\.\n?", refused.text)
    assert "Traceback" not in refused.text


@pytest.mark.ours
@pytest.mark.parametrize(
    ("method", "path", "word"),
    [
        ("GET", "/restms/feed/there-is-no-such-feed", "not_found"),
        ("GET", "/restms/feed/a%0Ab", "not_found"),
        ("DELETE", DOMAIN, "forbidden"),
        ("POST", DOMAIN, "bad_request"),
    ],
)
def test_errors_carry_a_stable_word(broker: Client, method: str, path: str, word: str) -> None:
    """Section 2: a program finds an error's stable word in the header `RestMS-Error`."""
    document = restms() if method == "POST" else None
    assert broker.request(method, path, document).headers["RestMS-Error"] == word


@pytest.mark.parametrize(
    ("format", "body"),
    [
        (XML, b""),
        (XML, b"<restms"),
        (XML, b"<feed/>"),
        (XML, b"<restms><feed></restms>"),
        (XML, b"\xff\xfe"),
        (JSON, b"{"),
        (JSON, b"[]"),
        (JSON, b"null"),
        (JSON, b'{"feed": []}'),
        (JSON, b'{"restms": 7}'),
        (JSON, b'{"restms": {"feed": 7}}'),
        (JSON, b'{"restms": {"feed": [7]}}'),
        (JSON, b'{"restms": {"feed": [{"name": ["a"]}]}}'),
        (JSON, b"[" * 100_000),
        pytest.param(CBOR, b"\xa1", marks=pytest.mark.ours),
        pytest.param(CBOR, b"\x00", marks=pytest.mark.ours),
        pytest.param(CBOR, b"\x81" * 100_000, marks=pytest.mark.ours),
    ],
)
def test_bad_document_is_400(broker: Client, format: Format, body: bytes) -> None:
    """Section 2: a document that cannot be read is 400."""
    headers = {"content-type": format.media_type}
    expect(broker.request("POST", DOMAIN, body=body, headers=headers), 400)


@pytest.mark.ours
def test_document_with_a_dtd_is_400(broker: Client) -> None:
    """Section 2: XML that defines entities is refused, for they can grow without bound."""
    body = b'<!DOCTYPE restms [<!ENTITY x "xxx">]><restms><feed name="news" title="&x;"/></restms>'
    headers = {"content-type": XML.media_type}
    expect(broker.request("POST", DOMAIN, body=body, headers=headers), 400)


@pytest.mark.parametrize("media_type", [XML.media_type, "image/png"], ids=["document", "content"])
def test_body_that_is_too_large_is_413(urls: list[str], media_type: str) -> None:
    """Section 2: a body over the server's limit is 413, before all of it was sent."""
    with Wire(urls[0]) as wire:
        headers = {"Content_Type": media_type, "Content_Length": str(10**12)}
        wire.send(wire.request("POST", DEFAULT_FEED, **headers))
        status, answered, body = wire.answer()
    assert status == 413
    assert answered["Content-Type"].startswith("text/plain")
    assert body


@pytest.mark.ours
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
@pytest.mark.parametrize(
    ("media_type", "limit"), [(XML.media_type, DOCUMENT_BYTES), ("image/png", CONTENT_BYTES)]
)
def test_documents_and_contents_have_limits_of_their_own(
    small: Client, media_type: str, limit: int, chunked: bool
) -> None:
    """Section 2: a document or content is 413 from one byte too many on, however it is sent."""
    feed = small.create_feed(unique("feed"))
    start, end = XML.write(restms(message=[message(ADDRESS, text("|"))])).split(b"|")
    for size, status in ((limit, (200, 201)), (limit + 1, (413,))):
        body = start + b"x" * (size - len(start) - len(end)) + end
        sent = iter([body[:100], body[100:]]) if chunked else body
        headers = {"content-type": media_type, "accept": ""}
        expect(small.request("POST", feed, body=sent, headers=headers), *status)


# HTTP


def test_pipelined_requests_are_answered_in_order(urls: list[str], broker: Client) -> None:
    """Section 2: pipelined requests on a connection are answered in order."""
    feeds = [unique("news") for _ in range(5)]
    for name in feeds:
        broker.create_feed(name)
    with Wire(urls[0]) as wire:
        wire.send(b"".join(wire.request("GET", f"/restms/feed/{name}") for name in feeds))
        for name in feeds:
            status, _, body = wire.answer()
            assert status == 200
            assert name.encode() in body


def test_pipelined_requests_behind_a_wait_are_answered_after_it(
    urls: list[str], broker: Client, feed: str, pipe: str
) -> None:
    """Section 2: a request pipelined behind one that waits has its turn when that is answered."""
    asynclet, name = broker.asynclet(pipe), feed.rpartition("/")[2]
    with Wire(urls[0]) as wire:
        paths = [f"/restms/{uri.partition('/restms/')[2]}" for uri in (asynclet, feed)]
        wire.send(b"".join(wire.request("GET", path) for path in paths))
        broker.publish(feed, message(ADDRESS, message_id="the-one"))
        first, second = wire.answer(), wire.answer()
    assert b"the-one" in first[2]
    assert name.encode() in second[2]


def test_pipelined_messages_keep_their_order(
    urls: list[str], broker: Client, feed: str, pipe: str
) -> None:
    """Section 2: messages posted without waiting for the answers keep their order."""
    path = f"/restms/{feed.partition('/restms/')[2]}"
    with Wire(urls[0]) as wire:
        for n in range(5):
            body = XML.write(restms(message=[message(ADDRESS, message_id=str(n))]))
            wire.send(wire.request("POST", path, body, Content_Type=XML.media_type))
        assert [wire.answer()[0] for _ in range(5)] == [200] * 5
    assert [sent["message_id"] for sent in broker.receive_all(pipe)] == list("01234")


def test_http_1_0_needs_no_host(urls: list[str]) -> None:
    """Section 2: a plain HTTP/1.0 request, without `Host`, is answered (the reference client's)."""
    with Wire(urls[0]) as wire:
        wire.send(wire.request("GET", DOMAIN, version="1.0"))
        status, headers, body = wire.answer()
    assert status == 200
    assert headers["Content-Type"].partition(";")[0] == "text/xml"
    (feed, *_) = TEXT_XML.read(body)["restms"]["domain"][0]["feed"]
    assert feed["href"].startswith("http")


@pytest.mark.ours
def test_request_with_two_lengths_is_400(urls: list[str]) -> None:
    """Section 2: `Content-Length` and `Transfer-Encoding` together are refused: proxies differ."""
    with Wire(urls[0]) as wire:
        headers = {"Content_Length": "5", "Transfer_Encoding": "chunked"}
        wire.send(wire.request("POST", DEFAULT_FEED, **headers, Content_Type="a/b") + b"0\r\n\r\n")
        assert wire.answer()[0] == 400


def test_body_may_come_in_chunks(urls: list[str], feed: str, pipe: str, broker: Client) -> None:
    """Section 2: a body without a length ahead, in chunks as HTTP/1.1 has them, is read."""
    path = f"/restms/{feed.partition('/restms/')[2]}"
    body = XML.write(restms(message=[message(ADDRESS, text("chunked"))]))
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:]))
    with Wire(urls[0]) as wire:
        headers = {"Content_Type": XML.media_type, "Transfer_Encoding": "chunked"}
        wire.send(wire.request("POST", path, **headers) + chunks + b"0\r\n\r\n")
        assert wire.answer()[0] == 200
    assert len(broker.messages(pipe)) == 1


def test_connection_is_kept_after_an_error(urls: list[str]) -> None:
    """Section 2: an error is an answer like any other: the connection goes on."""
    with Wire(urls[0]) as wire:
        wire.send(wire.request("DELETE", DOMAIN))
        wire.send(wire.request("POST", DOMAIN, b"<oops", Content_Type=XML.media_type))
        wire.send(wire.request("GET", DOMAIN))
        assert [wire.answer()[0] for _ in range(3)] == [403, 400, 200]


def _without_hosts(document: object) -> str:
    return re.sub(r"https?://[^/]+", "", repr(document))
