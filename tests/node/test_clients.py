"""Which client a request is counted to."""

from collections.abc import Mapping
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restms_node.clients import client_of

PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


def forwarded(value: str) -> Mapping[str, str]:
    return {"x-forwarded-for": value}


@pytest.mark.parametrize(
    ("peer", "told", "client"),
    [
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),  # it is no proxy: what it says counts nothing
        ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.7", "198.51.100.7"),  # the first is the client's word
        ("10.0.0.1", "1.1.1.1, 198.51.100.7, 10.2.3.4", "198.51.100.7"),
        ("10.0.0.1", "10.9.9.9,10.2.3.4", "10.9.9.9"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "1.1.1.1, nonsense", "10.0.0.1"),
        ("10.0.0.1", "1.1.1.1, unknown, 10.2.3.4", "10.2.3.4"),
        ("10.0.0.1", "198.51.100.7:4711", "198.51.100.7"),
        ("fd00::1", "[2001:db8:1:2:3::4]:4711", "2001:db8:1:2::/64"),
        ("fd00::1", "2001:db8:1:2:9:9:9:9", "2001:db8:1:2::/64"),
        ("::ffff:10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("2001:db8:1:2:3::4", "", "2001:db8:1:2::/64"),
        (None, "198.51.100.7", ""),
    ],
)
def test_it_is_the_last_that_no_trusted_proxy_is(peer: str | None, told: str, client: str) -> None:
    assert client_of(PROXIES, peer, forwarded(told)) == client


def test_without_proxies_nobody_is_believed() -> None:
    assert client_of((), "10.0.0.1", forwarded("198.51.100.7")) == "10.0.0.1"


@given(st.text(max_size=60))
def test_what_a_client_writes_changes_nothing(said: str) -> None:
    assert client_of(PROXIES, "10.0.0.1", forwarded(f"{said},198.51.100.7")) == "198.51.100.7"
