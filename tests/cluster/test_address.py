"""The Redis URL: what it may say, and that it never shows its password."""

import ssl
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restms_cluster.address import Address
from restms_cluster.errors import StartError


def test_parts_of_a_url() -> None:
    address = Address.parse("redis://anna:s3%23cret@redis.example:6380/3")
    assert (address.host, address.port, address.db) == ("redis.example", 6380, 3)
    assert (address.username, address.password) == ("anna", "s3#cret")
    assert address.tls is None


def test_defaults() -> None:
    address = Address.parse("redis://")
    assert (address.host, address.port, address.db, address.password) == (
        "localhost",
        6379,
        0,
        None,
    )


def test_unix_socket() -> None:
    address = Address.parse("unix://:secret@/run/redis.sock?db=2")
    assert (address.path, address.db, address.password) == ("/run/redis.sock", 2, "secret")
    assert str(address) == "unix:///run/redis.sock?db=2"


def test_tls_options(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.touch()
    url = f"rediss://r?ssl_ca_certs={authority}&ssl_cert_reqs=optional&ssl_check_hostname=false"
    tls = Address.parse(url).tls
    assert tls is not None
    assert (tls.ca_certs, tls.verify) == (str(authority), ssl.CERT_OPTIONAL)
    assert not tls.check_hostname


def test_tls_checks_the_server_unless_told_not_to() -> None:
    checked = Address.parse("rediss://r").tls
    unchecked = Address.parse("rediss://r?ssl_cert_reqs=none").tls
    assert checked is not None
    assert unchecked is not None
    assert checked.context().verify_mode is ssl.CERT_REQUIRED
    assert checked.context().check_hostname
    assert unchecked.context().verify_mode is ssl.CERT_NONE


def test_ipv6() -> None:
    address = Address.parse("redis://[::1]:7000/1")
    assert (address.host, str(address)) == ("::1", "redis://[::1]:7000/1")


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("http://hidden@host", "must start with"),
        ("hidden", "must start with"),
        ("redis://:hidden@host:port", "host or port"),
        ("redis://:hidden@host:99999", "host or port"),
        ("redis://:hidden@host:0", "port 0"),
        ("redis://:hid#den@host", "%23"),
        ("redis://:hidden@ho st", "space"),
        ("redis://:hidden@[::1", "host or port"),
        ("redis://:hidden@a..b", "host"),
        ("redis://:hidden@host/db", "database"),
        ("redis://:hidden@host/1/2", "database"),
        ("redis://:hidden@host?db=x", "db"),
        ("redis://:hidden@host?db=-1", "db"),
        ("redis://host?passwort=hidden", "unknown option"),
        ("redis://host?password=hidden&password=hidden", "twice"),
        ("redis://:hidden@host?db=", "without a value"),
        ("redis://:hidden@host?ssl_cert_reqs=none", "rediss"),
        ("rediss://:hidden@host?ssl_cert_reqs=some", "ssl_cert_reqs"),
        ("rediss://:hidden@host?ssl_check_hostname=perhaps&ssl_ca_certs=hidden", "ssl_"),
        ("rediss://:hidden@host?ssl_ca_certs=/hidden", "no file"),
        ("rediss://:hidden@host?ssl_keyfile=/dev/null", "ssl_keyfile"),
        ("unix://:hidden@host/redis.sock", "whole path"),
        ("unix://", "whole path"),
        ("unix://:hidden@/a%00b", "path"),
    ],
)
def test_a_bad_url_is_refused_without_showing_it(url: str, fault: str) -> None:
    with pytest.raises(StartError, match=r"^The Redis URL .*\.$") as refused:
        Address.parse(url)
    assert fault in str(refused.value)
    assert "hidden" not in str(refused.value)
    assert refused.value.__cause__ is None


@given(st.text(max_size=60), st.sampled_from(["", "redis://", "rediss://", "unix:///", "unix://"]))
def test_any_text_is_an_address_or_one_sentence(text: str, start: str) -> None:
    refusal = ""
    try:
        address = Address.parse(start + text)
    except StartError as error:
        refusal = str(error)
    assert refusal.startswith("The Redis URL ") or (
        0 <= address.db < 2**31 and 0 < address.port < 2**16
    )


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_password_is_kept_and_never_shown(password: str) -> None:
    address = Address.parse(f"redis://:{quote(password, safe='')}@host")
    assert address.password == password
    assert str(address) == "redis://host:6379/0"
    assert "password" not in repr(address)
