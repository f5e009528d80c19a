"""URLs of Sentinels and of a Redis Cluster."""

from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from restms_cluster.address import Address
from restms_cluster.errors import StartError
from restms_cluster.topology import Seeds, Sentinels, parse_topology


def test_one_server() -> None:
    url = "redis://anna:secret@redis.example:6380/3"
    assert parse_topology(url) == Address.parse(url)


def test_sentinels() -> None:
    found = parse_topology(
        "redis+sentinel://anna:secret@one:26380,two,[::1]:7000/3?master=mine"
        "&sentinel_username=watch&sentinel_password=word"
    )
    assert isinstance(found, Sentinels)
    assert found.master == "mine"
    assert [(one.host, one.port) for one in found.addresses] == [
        ("one", 26380),
        ("two", 26379),
        ("::1", 7000),
    ]
    assert {(one.username, one.password, one.db) for one in found.addresses} == {
        ("watch", "word", 0)
    }
    primary = found.primary
    assert (primary.username, primary.password, primary.db) == ("anna", "secret", 3)
    assert primary.primary
    assert str(found) == "redis+sentinel://one:26380,two:26379,[::1]:7000/3?master=mine"


def test_sentinels_have_no_password_unless_one_is_given_for_them() -> None:
    found = parse_topology("redis+sentinel://:secret@one?master=mine")
    assert isinstance(found, Sentinels)
    assert found.addresses[0].password is None


def test_a_cluster() -> None:
    found = parse_topology("redis+cluster://anna:secret@one,two:7000/")
    assert isinstance(found, Seeds)
    assert [(one.host, one.port, one.password) for one in found.addresses] == [
        ("one", 6379, "secret"),
        ("two", 7000, "secret"),
    ]
    assert str(found) == "redis+cluster://one:6379,two:7000/"


def test_tls_is_for_all_that_the_url_names() -> None:
    sentinels = parse_topology("rediss+sentinel://one?master=m&ssl_cert_reqs=none")
    cluster = parse_topology("rediss+cluster://one,two")
    assert isinstance(sentinels, Sentinels)
    assert isinstance(cluster, Seeds)
    for address in (*sentinels.addresses, sentinels.primary, *cluster.addresses):
        assert address.tls is not None
    assert str(cluster) == "rediss+cluster://one:6379,two:6379/"


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("redis+sentinel://one", "must say what the Sentinels call the primary"),
        ("redis+sentinel://one?master=", "twice or without a value"),
        ("redis+sentinel://one?master=a&master=b", "twice or without a value"),
        ("redis+sentinel://one?master=a%20b", "must say what the Sentinels call the primary"),
        ("redis+sentinel://one,?master=a", "must name from 1 to 100 hosts"),
        ("redis+sentinel://?master=a", "must name from 1 to 100 hosts"),
        ("redis+sentinel://one:0?master=a", "has the port 0"),
        ("redis+sentinel://one?master=a&quorum=1", "has an unknown option"),
        ("redis+cluster://one/1", "has the number of a database"),
        ("redis+cluster://one?db=1", "has the number of a database"),
        ("redis+cluster://one?master=a", "has an unknown option"),
        ("redis+cluster://one,two:x", "has a bad host or port"),
        ("redis+cluster://a#b", "has a '#'"),
        ("redis+other://one", "must start with"),
        ("unix+cluster:///run/redis.sock", "must start with"),
    ],
)
def test_what_is_refused(url: str, fault: str) -> None:
    with pytest.raises(StartError, match=fault.replace("?", r"\?")):
        parse_topology(url)


@given(
    st.sampled_from(["redis+sentinel://", "rediss+sentinel://", "redis+cluster://"]),
    st.text(alphabet="ab1:,@[]/?=&.%#m ", max_size=30),
)
@example("redis+cluster://", "[")
@example("redis+sentinel://", "a]b?master=1")
def test_any_text_is_read_or_refused(scheme: str, rest: str) -> None:
    with suppress(StartError):
        assert str(parse_topology(scheme + rest)).startswith(scheme)


def test_no_fault_shows_the_password() -> None:
    for url in ("redis+cluster://:secret@one,:x", "redis+sentinel://:secret@one?master=a&x=y"):
        with pytest.raises(StartError) as caught:
            parse_topology(url)
        assert "secret" not in str(caught.value)
