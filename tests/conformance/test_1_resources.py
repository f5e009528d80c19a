"""Section 1: the resources, who makes them, and what may be done with each."""

import re
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx
import pytest

from tests.conformance.client import DEFAULT_FEED, DOMAIN, Client, expect, unique
from tests.conformance.conftest import ADDRESS, resource
from tests.conformance.documents import message, restms, staged, text

PRIVATE = "/restms/resource/"


@pytest.fixture(params=["feed", "pipe", "join", "message", "content"])
def made(request: pytest.FixtureRequest, broker: Client, feed: str, pipe: str) -> str:
    """A resource of each type that comes and goes."""
    return resource(request.param, broker, feed, pipe)


# Domains and profiles


def test_domain_default_always_exists_with_a_feed_default(broker: Client) -> None:
    """Section 1: the server always has a domain `default` with a feed `default`."""
    domain = broker.read(DOMAIN)
    assert domain["name"] == "default"
    assert "default" in [feed["name"] for feed in domain["feed"]]
    assert broker.read(DEFAULT_FEED)["name"] == "default"


def test_domain_lists_profiles_whose_href_is_a_readable_page(broker: Client) -> None:
    """Section 1: a domain lists the server's profiles; the `href` of each is a page to read."""
    profiles = broker.read(DOMAIN)["profile"]
    assert any("default" in profile["name"].lower() for profile in profiles)
    for profile in profiles:
        page = expect(httpx.get(profile["href"], follow_redirects=True), 200)
        assert page.headers["Content-Type"].startswith("text/")
        assert page.text.strip()


def test_domain_lists_public_feeds_with_their_href(broker: Client) -> None:
    """Section 1: a public feed is listed in its domain, with its URI."""
    name = unique("news")
    feed = broker.create_feed(name)
    (listed,) = [feed for feed in broker.read(DOMAIN)["feed"] if feed["name"] == name]
    assert broker.read(listed["href"])["name"] == name
    assert urlsplit(listed["href"]).path == urlsplit(feed).path == f"/restms/feed/{name}"


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_domain_is_configured_and_cannot_be_changed_or_deleted(broker: Client, method: str) -> None:
    """Section 1: a domain is made by configuration: PUT and DELETE are 403."""
    document = restms(domain=[{"title": "Mine"}]) if method == "PUT" else None
    expect(broker.request(method, DOMAIN, document), 403)


def test_domain_that_is_not_configured_does_not_exist(broker: Client) -> None:
    """Section 1: clients never make a domain, so one that nobody configured is not there."""
    nowhere = f"/restms/domain/{unique('nowhere')}"
    expect(broker.get(nowhere), 404)
    expect(broker.post(nowhere, restms(feed=[{"name": "news"}])), 404)


@pytest.mark.ours
def test_feed_outside_the_default_domain_has_the_domain_in_its_uri(
    broker: Client, second_domain: str
) -> None:
    """Section 1: a feed outside the domain `default` lives at `/restms/feed/{domain}/{name}`."""
    domain, name = f"/restms/domain/{second_domain}", unique("news")
    response = expect(broker.post(domain, restms(feed=[{"name": name}])), 201)
    feed = response.headers["Location"]
    assert urlsplit(feed).path == f"/restms/feed/{second_domain}/{name}"
    assert {"default", name} <= {listed["name"] for listed in broker.read(domain)["feed"]}
    assert name not in {listed["name"] for listed in broker.read(DOMAIN)["feed"]}
    pipe = expect(broker.post(domain, restms(pipe=[{}])), 201).headers["Location"]
    broker.join(pipe, feed, ADDRESS)
    assert broker.publish(feed, message(ADDRESS)) == [1]
    default = f"/restms/feed/{second_domain}/default"
    assert broker.publish(default, message(broker.read(pipe)["name"])) == [1]
    assert len(broker.messages(pipe)) == 2


# URIs


def test_private_resources_have_uris_that_cannot_be_guessed(broker: Client) -> None:
    """Section 1: a hash is at least 128 random bits, so no two are alike or short."""
    hashes = [urlsplit(broker.create_pipe()).path.removeprefix(PRIVATE) for _ in range(3)]
    assert len(set(hashes)) == 3
    assert all(len(hash_) >= 128 / 6 for hash_ in hashes)  # 6 bits a character at the very best


def test_pipe_name_is_its_hash(broker: Client) -> None:
    """Section 1: a pipe's `name` is the hash at the end of its URI."""
    pipe = broker.create_pipe()
    assert urlsplit(pipe).path == PRIVATE + broker.read(pipe)["name"]


def test_joins_messages_and_contents_have_private_uris(
    broker: Client, feed: str, pipe: str
) -> None:
    """Section 1: joins, messages and contents live at `/restms/resource/{hash}`."""
    broker.publish(feed, message(ADDRESS))
    uris = [broker.join(pipe, feed, "more"), broker.messages(pipe)[0], broker.stage(feed, b"x")]
    assert all(urlsplit(uri).path.startswith(PRIVATE) for uri in uris)


def test_uris_in_answers_are_absolute(broker: Client, feed: str, pipe: str) -> None:
    """Section 1: all URIs in answers are absolute."""
    broker.publish(feed, message(ADDRESS))
    document = broker.read(pipe)
    found = [feed, pipe, *(child["href"] for child in document["join"] + document["message"])]
    found += [join["feed"] for join in document["join"]]
    found += [child["href"] for child in broker.read(DOMAIN)["feed"]]
    assert all(urlsplit(uri).scheme in ("http", "https") and urlsplit(uri).netloc for uri in found)


@pytest.mark.ours
def test_uris_in_answers_are_made_of_the_requests_host(broker: Client) -> None:
    """Section 1: without a configured public base URL, URIs carry the host that was asked for."""
    response = broker.post(DOMAIN, restms(pipe=[{}]), host="broker.example:8080")
    assert urlsplit(expect(response, 201).headers["Location"]).netloc == "broker.example:8080"
    (join,) = broker.document(response)["pipe"][0]["join"]
    assert join["feed"] == f"http://broker.example:8080{DEFAULT_FEED}"


@pytest.mark.ours
def test_forwarded_host_of_an_untrusted_client_is_ignored(broker: Client) -> None:
    """Section 1: forwarded headers count only where they come from a trusted proxy."""
    response = broker.get(DOMAIN, x_forwarded_host="evil.example", forwarded="host=evil.example")
    assert b"evil.example" not in expect(response, 200).content


@pytest.mark.parametrize(
    "sent",
    [
        lambda uri: uri,
        lambda uri: urlsplit(uri).path,
        lambda uri: f"../{urlsplit(uri).path.removeprefix('/restms/')}",
    ],
    ids=["absolute", "path", "relative"],
)
def test_uris_from_clients_may_be_relative_or_absolute(
    broker: Client, feed: str, sent: Callable[[str], str]
) -> None:
    """Section 1: a URI that a client sends may be absolute, or relative to where it is sent."""
    pipe = broker.create_pipe()
    broker.join(pipe, sent(feed), ADDRESS)
    content = staged(sent(broker.stage(feed, b"staged", "text/plain")))
    assert broker.publish(feed, message(ADDRESS, content)) == [1]


@pytest.mark.ours
def test_unknown_path_is_404(broker: Client) -> None:
    """Section 1: a path that no resource can have is 404."""
    for path in ("/", "/restms", "/restms/feed/", "/restms/resource/abc", "/restms/nothing/here"):
        expect(broker.get(path), 404)


# Methods


@pytest.mark.parametrize(
    ("made", "method"),
    [
        ("pipe", "PATCH"),
        ("join", "PUT"),
        ("join", "POST"),
        ("message", "PUT"),
        ("message", "POST"),
        ("content", "PUT"),
        ("content", "POST"),
    ],
    indirect=["made"],
)
def test_method_that_a_resource_does_not_have_is_403(
    broker: Client, made: str, method: str
) -> None:
    """Section 1: joins, messages and contents have no PUT and POST; such methods are 403."""
    expect(broker.request(method, made, restms(join=[{"address": "x"}])), 403)
    expect(broker.get(made), 200)


@pytest.mark.ours
@pytest.mark.parametrize("made", ["join"], indirect=True)
def test_refused_method_is_answered_with_those_that_are_allowed(broker: Client, made: str) -> None:
    """Section 1: a 403 for a method says in `Allow` which methods there are."""
    allow = expect(broker.put(made, restms(join=[{}])), 403).headers["Allow"]
    assert set(re.split(r",\s*", allow)) >= {"GET", "DELETE"}
    assert "PUT" not in allow


# Feeds


def test_feed_is_created_by_naming_it(broker: Client) -> None:
    """Section 1: a public feed is created by naming it: 201, at `/restms/feed/{name}`."""
    name = unique("news")
    response = broker.post(DOMAIN, restms(feed=[{"name": name, "title": "All the news"}]))
    uri = expect(response, 201).headers["Location"]
    assert urlsplit(uri).path == f"/restms/feed/{name}"
    described = broker.read(uri)
    assert (described["name"], described["title"]) == (name, "All the news")


def test_feed_that_exists_is_answered_as_it_stands(broker: Client) -> None:
    """Section 1: creating a feed again answers 200 with the existing feed and its `Location`."""
    name = unique("news")
    first = broker.create_feed(name, title="First")
    again = expect(broker.post(DOMAIN, restms(feed=[{"name": name, "title": "Second"}])), 200)
    assert urlsplit(again.headers["Location"]).path == urlsplit(first).path
    assert broker.document(again)["feed"][0]["title"] == "First"


@pytest.mark.ours
def test_feed_that_exists_with_another_type_is_403(broker: Client) -> None:
    """Section 1: a different type for a name that exists is 403, and the feed stays as it is."""
    if not any("amqp" in profile["name"].lower() for profile in broker.read(DOMAIN)["profile"]):
        pytest.skip("the server's profiles have one feed type only")
    name = unique("news")
    feed = broker.create_feed(name)
    expect(broker.post(DOMAIN, restms(feed=[{"name": name, "type": "fanout"}])), 403)
    assert broker.read(feed).get("type", "") == ""


@pytest.mark.ours
@pytest.mark.parametrize("type_", ["topic", "no such type"])
def test_configured_feed_is_answered_as_it_is_whatever_type_was_asked_for(
    broker: Client, type_: str
) -> None:
    """Section 1: creating `default` answers 200 whatever the type: the reference client does it."""
    response = broker.post(DOMAIN, restms(feed=[{"name": "default", "type": type_}]))
    (feed,) = broker.document(expect(response, 200))["feed"]
    assert (feed["name"], feed.get("type", "")) == ("default", "")
    assert urlsplit(response.headers["Location"]).path == DEFAULT_FEED


@pytest.mark.parametrize("noun", ["feed", "pipe"])
def test_unknown_type_is_400(broker: Client, noun: str) -> None:
    """Section 1: a feed or pipe type that no profile has is 400."""
    new = {"type": "no-such-type", **({"name": unique("news")} if noun == "feed" else {})}
    expect(broker.post(DOMAIN, restms(**{noun: [new]})), 400)


@pytest.mark.ours
def test_feed_without_a_name_is_private(broker: Client) -> None:
    """Section 1: a feed without a name is private: only its URI leads to it."""
    before = {feed["name"] for feed in broker.read(DOMAIN)["feed"]}
    feed = broker.create_feed(title="Secret")
    assert urlsplit(feed).path.startswith(PRIVATE)
    assert broker.read(feed)["title"] == "Secret"
    listed = broker.read(DOMAIN)["feed"]
    assert "Secret" not in [feed.get("title") for feed in listed]
    assert {feed["name"] for feed in listed} == before


def test_empty_name_counts_as_none(broker: Client) -> None:
    """Section 1: a feed whose `name` is empty is a new private one (the reference client's way)."""
    responses = [
        expect(broker.post(DOMAIN, restms(feed=[{"name": "", "type": ""}])), 201) for _ in "12"
    ]
    assert len({response.headers["Location"] for response in responses}) == 2


@pytest.mark.ours
@pytest.mark.parametrize("name", ["a/b", "a b", "~hidden", ".", "..", "é", "a?b", "x" * 10_000])
def test_feed_name_that_no_uri_can_carry_is_400(broker: Client, name: str) -> None:
    """Section 1: a feed's name becomes a part of its URI, so it must be fit for one."""
    expect(broker.post(DOMAIN, restms(feed=[{"name": name}])), 400)


def test_feed_title_and_license_can_be_changed(broker: Client, feed: str) -> None:
    """Section 1: PUT on a feed changes title and license."""
    expect(broker.put(feed, restms(feed=[{"title": "New", "license": "CC0"}])), 200, 204)
    described = broker.read(feed)
    assert (described["title"], described["license"]) == ("New", "CC0")


def test_feed_put_leaves_what_it_does_not_name(broker: Client) -> None:
    """Section 1: PUT on a feed changes what the document names, nothing else."""
    feed = broker.create_feed(unique("news"), title="Old", license="CC0")
    expect(broker.put(feed, restms(feed=[{"title": "New"}])), 200, 204)
    described = broker.read(feed)
    assert (described["title"], described["license"]) == ("New", "CC0")


@pytest.mark.ours
@pytest.mark.parametrize(("made", "noun"), [("feed", "feed"), ("pipe", "pipe")], indirect=["made"])
def test_put_with_a_different_type_is_403(broker: Client, made: str, noun: str) -> None:
    """Section 1: a type never changes: PUT with another one is 403 and changes nothing."""
    change = restms(**{noun: [{"type": "fanout", "title": "Changed"}]})
    expect(broker.put(made, change), 403)
    assert broker.read(made).get("title") != "Changed"


def test_configured_feed_is_never_changed_or_deleted(broker: Client) -> None:
    """Section 1: configured resources are never deleted or changed by clients: 403."""
    expect(broker.put(DEFAULT_FEED, restms(feed=[{"title": "Mine"}])), 403)
    expect(broker.delete(DEFAULT_FEED), 403)
    assert broker.read(DEFAULT_FEED).get("title") != "Mine"


def test_deleting_a_feed_deletes_its_joins(broker: Client, feed: str, pipe: str) -> None:
    """Section 1: with a feed go its joins; the pipes stay."""
    join = broker.join(pipe, feed, "more")
    expect(broker.delete(feed), 200)
    expect(broker.get(feed), 404)
    expect(broker.get(join), 404)
    assert [join["address"] for join in broker.read(pipe)["join"]] == [broker.read(pipe)["name"]]


def test_feed_made_anew_has_none_of_the_old_ones_joins(broker: Client) -> None:
    """Section 1: a feed's joins are deleted with it, so a new one of its name has none."""
    name = unique("news")
    pipe = broker.create_pipe()
    broker.join(pipe, broker.create_feed(name), ADDRESS)
    broker.delete(f"/restms/feed/{name}")
    assert broker.publish(broker.create_feed(name), message(ADDRESS)) == [0]
    assert broker.messages(pipe) == []


# Pipes and joins


def test_pipe_title_can_be_changed(broker: Client) -> None:
    """Section 1: PUT on a pipe changes its title."""
    pipe = broker.create_pipe(title="Old")
    expect(broker.put(pipe, restms(pipe=[{"title": "New"}])), 200, 204)
    assert broker.read(pipe)["title"] == "New"


def test_pipe_is_private(broker: Client) -> None:
    """Section 1: pipes are private, so the domain does not list them."""
    pipe = broker.create_pipe(title="Nobody knows")
    assert broker.read(pipe)["name"].encode() not in broker.get(DOMAIN).content
    assert "pipe" not in broker.read(DOMAIN)


def test_join_shows_its_feed_and_address(broker: Client, feed: str) -> None:
    """Section 1: POST to a pipe makes a join, which can be read and is listed in the pipe."""
    pipe = broker.create_pipe()
    join = broker.join(pipe, feed, ADDRESS)
    described = broker.read(join)
    assert described["address"] == ADDRESS
    assert urlsplit(described["feed"]).path == urlsplit(feed).path
    listed = [urlsplit(join["href"]).path for join in broker.read(pipe)["join"]]
    assert urlsplit(join).path in listed


@pytest.mark.ours
def test_join_made_twice_is_one_join(broker: Client, feed: str) -> None:
    """Section 1: a join with the same feed, type and address again is 200 and the same URI."""
    pipe = broker.create_pipe()
    document = restms(join=[{"feed": feed, "address": ADDRESS}])
    first = expect(broker.post(pipe, document), 201).headers["Location"]
    again = expect(broker.post(pipe, document), 200).headers["Location"]
    assert urlsplit(first).path == urlsplit(again).path
    assert broker.publish(feed, message(ADDRESS)) == [1]


@pytest.mark.ours
def test_join_to_a_feed_that_is_not_there_is_404(broker: Client) -> None:
    """Section 1: a join names a feed that exists."""
    pipe = broker.create_pipe()
    nowhere = f"/restms/feed/{unique('nowhere')}"
    expect(broker.post(pipe, restms(join=[{"feed": nowhere, "address": ADDRESS}])), 404)


@pytest.mark.ours
def test_join_across_domains_is_403(broker: Client, second_domain: str) -> None:
    """Section 1: a pipe joins feeds of its own domain only."""
    pipe = broker.create_pipe()
    made = broker.post(f"/restms/domain/{second_domain}", restms(feed=[{"name": unique("news")}]))
    elsewhere = expect(made, 201).headers["Location"]
    expect(broker.post(pipe, restms(join=[{"feed": elsewhere, "address": ADDRESS}])), 403)


@pytest.mark.ours
@pytest.mark.parametrize("feed_", [DOMAIN, "", "http://[broken"])
def test_join_whose_feed_is_no_feed_is_refused(broker: Client, feed_: str) -> None:
    """Section 1: a join's `feed` is the URI of a feed and nothing else."""
    pipe = broker.create_pipe()
    expect(broker.post(pipe, restms(join=[{"feed": feed_, "address": ADDRESS}])), 400, 404)


@pytest.mark.ours
def test_join_of_an_unknown_type_is_400(broker: Client, feed: str) -> None:
    """Section 1: a join type that the feed does not know is 400."""
    pipe = broker.create_pipe()
    join = {"feed": feed, "address": ADDRESS, "type": "no-such-type"}
    expect(broker.post(pipe, restms(join=[join])), 400)


def test_deleted_join_takes_no_more_messages(broker: Client, feed: str) -> None:
    """Section 1: DELETE on a join takes it out of its pipe, and messages no longer come by it."""
    pipe = broker.create_pipe()
    join = broker.join(pipe, feed, ADDRESS)
    expect(broker.delete(join), 200)
    expect(broker.get(join), 404)
    assert broker.publish(feed, message(ADDRESS)) == [0]


# Deleting


def test_deleting_a_pipe_deletes_its_joins_and_messages(
    broker: Client, feed: str, pipe: str
) -> None:
    """Section 1: with a pipe go its joins and messages."""
    join = broker.join(pipe, feed, "more")
    broker.publish(feed, message(ADDRESS))
    (held,) = broker.messages(pipe)
    expect(broker.delete(pipe), 200)
    for uri in (pipe, join, held):
        expect(broker.get(uri), 404)
    assert broker.publish(feed, message(ADDRESS)) == [0]


def test_deleting_a_message_deletes_its_contents(broker: Client, feed: str, pipe: str) -> None:
    """Section 1: with a message go its contents."""
    content = broker.stage(feed, b"x" * 200_000)
    broker.publish(feed, message(ADDRESS, {"href": content}))
    (held,) = broker.messages(pipe)
    delivered = broker.receive(held)["content"][0]["href"]
    expect(broker.get(delivered), 200)
    broker.acknowledge(held)
    expect(broker.get(delivered), 404)


def test_pipes_copies_of_one_message_are_deleted_one_by_one(
    broker: Client, feed: str, pipe: str
) -> None:
    """Section 1: deleting a message, or a pipe, takes nothing from the other pipes that got it."""
    others = [broker.create_pipe() for _ in range(2)]
    for other in others:
        broker.join(other, feed, ADDRESS)
    content = broker.stage(feed, b"x" * 200_000)
    assert broker.publish(feed, message(ADDRESS, {"href": content})) == [3]
    broker.acknowledge(broker.messages(pipe)[0])
    broker.delete(others[0])
    (left,) = broker.receive_all(others[1])
    assert broker.get(left["content"][0]["href"]).content == b"x" * 200_000


def test_deletes_are_idempotent(broker: Client, made: str) -> None:
    """Section 1: a second DELETE answers 200, as the first one did."""
    expect(broker.delete(made), 200)
    expect(broker.get(made), 404)
    expect(broker.delete(made), 200)


@pytest.mark.parametrize(
    "change",
    [
        lambda broker, gone: broker.put(gone, restms(pipe=[{"title": "x"}])),
        lambda broker, gone: broker.post(gone, restms(join=[{"feed": DEFAULT_FEED}])),
    ],
    ids=["put", "post"],
)
def test_what_was_deleted_cannot_be_changed(
    broker: Client, pipe: str, change: Callable[[Client, str], httpx.Response]
) -> None:
    """Section 1: a resource that is deleted is 404 for every other method."""
    broker.delete(pipe)
    expect(change(broker, pipe), 404)


def test_message_to_a_deleted_feed_is_404(broker: Client, feed: str) -> None:
    """Section 1: a deleted feed takes no messages and no contents."""
    broker.delete(feed)
    expect(broker.post(feed, restms(message=[message(ADDRESS, text("x"))])), 404)
    headers = {"content-type": "text/plain"}
    expect(broker.request("POST", feed, body=b"x", headers=headers), 404)
