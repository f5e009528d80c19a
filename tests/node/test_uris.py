"""URIs: what a path names, what a resource is called, and what hostile input cannot do."""

import hashlib
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restms_cluster.errors import BadRequestError, NotFoundError, RestMSError
from restms_cluster.names import FeedName, Kind, Token, owner_tag
from restms_node.front import shortened
from restms_node.uris import DomainName, Target, Uris

URIS = Uris("https://broker.example/api")
DIGITS = "0123456789abcdef"
tags = st.text(DIGITS, min_size=16, max_size=16)
secrets = st.text(DIGITS, min_size=32, max_size=32)
secrets = st.one_of(secrets, st.builds(str.__add__, secrets, tags))
names = st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9._~-]{0,20}\Z")
domains = st.one_of(st.just("default"), st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9_-]{0,20}\Z"))
numbers = st.integers(1, 10**15)
tokens = st.one_of(
    st.builds(Token, st.sampled_from([Kind.PIPE, Kind.JOIN, Kind.CONTENT]), secrets, domains),
    st.builds(Token, st.just(Kind.PIPE), secrets, domains, numbers),
    st.builds(Token, st.just(Kind.PIPE), secrets, domains, numbers, st.integers(1, 10**5)),
)
feeds = st.one_of(
    st.builds(FeedName, domains, names),
    st.builds(Token, st.just(Kind.FEED), secrets, domains).map(FeedName.private),
)


def uri(target: Target) -> str:
    match target:
        case FeedName():
            return URIS.feed(target)
        case Token():
            return URIS.resource(target)
        case DomainName(name):
            return URIS.domain(name)
    return URIS.profile(target.name)


@given(st.one_of(tokens, feeds))
def test_every_uri_leads_back_to_what_it_was_made_for(target: Target) -> None:
    assert URIS.reference("/restms/feed/any", uri(target)) == target
    path = uri(target).removeprefix("https://broker.example")
    assert URIS.target(path) == target
    # A proxy may take its prefix off, and a client may know another host name.
    assert URIS.target(path.removeprefix("/api")) == target
    assert URIS.reference("/", "http://10.0.0.1:8080" + path.removeprefix("/api")) == target


@given(st.text(max_size=80))
def test_any_href_is_a_resource_or_a_plain_refusal(href: str) -> None:
    try:
        target = URIS.reference("/restms/feed/default", href)
    except (BadRequestError, NotFoundError):
        return
    assert URIS.target(urlsplit(uri(target)).path) == target


def test_hrefs_may_be_relative_to_the_path_they_were_posted_to() -> None:
    posted_to = "/restms/resource/p" + "0" * 32
    assert URIS.reference(posted_to, "../feed/news") == FeedName("default", "news")
    assert URIS.reference(posted_to, "/restms/feed/sales/news") == FeedName("sales", "news")
    assert URIS.target("/restms/domain/default") == DomainName("default")


@pytest.mark.parametrize(
    "path",
    [
        "/restms/resource/p123",
        "/restms/resource/j" + "0" * 32 + "-1",
        "/restms/resource/p" + "0" * 32 + "-0",
        "/restms/resource/P" + "0" * 32,
        "/restms/resource/p" + "0" * 40,
        "/restms/resource/p" + "0" * 64,
        "/restms/feed/a/b/c",
        "/restms/feed/.hidden",
        "/restms/feed/~" + "0" * 32,
        "/restms/domain/a.b",
        "/restms/other/x",
        "/",
    ],
)
def test_what_can_be_nothing_is_not_found(path: str) -> None:
    with pytest.raises(RestMSError) as caught:
        URIS.target(path)
    assert caught.value.status == 404


@given(tokens, st.text(min_size=1), st.text(min_size=1))
def test_a_token_is_looked_for_under_the_tag_of_who_asks(token: Token, one: str, two: str) -> None:
    asked_by = Uris("http://host", owner_tag(one))
    made = Token.new(token.kind, token.domain, owner_tag(one))
    assert asked_by.target(f"/restms/resource/{made}") == made
    for tag in (owner_tag(two), ""):
        other = Uris("http://host", tag).target(f"/restms/resource/{made}")
        assert (other == made) is (tag == owner_tag(one))
    found = asked_by.target(f"/restms/resource/{token}")
    assert isinstance(found, Token)
    assert found.tag == (owner_tag(one) if token.tag else "")
    assert found.secret[:32] == token.secret[:32]
    assert (found.number, found.content, found.domain) == (
        token.number,
        token.content,
        token.domain,
    )


def test_tags_differ_and_are_not_a_digest_of_the_name_alone() -> None:
    assert owner_tag("") == ""
    assert owner_tag("alice") != owner_tag("Alice")
    assert owner_tag("alice") != hashlib.sha256(b"alice").hexdigest()[:16]


@given(tokens)
def test_a_shortened_path_is_of_no_use(token: Token) -> None:
    path = shortened(f"/restms/resource/{token}")
    assert token.secret not in path
    with pytest.raises(RestMSError):
        Uris("http://x").target(path)
