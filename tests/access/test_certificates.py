"""Certificates that a proxy has seen: from whom, and what they name."""

import base64
import logging
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from restms_cluster.errors import UnauthorizedError
from restms_node.access import Access
from restms_node.authenticator_certificate import CertificateAuthenticator
from restms_node.authenticator_keys import KeysAuthenticator
from restms_node.configured_access import RFC9440, SUBJECT, Certificates
from restms_node.principals import ANONYMOUS, Principal

PROXIES = (ip_network("10.0.0.0/8"), ip_network("::1"))
GROUPS = frozenset(("machines",))
NAMED = Certificates("x-client-subject", SUBJECT, "", GROUPS)
WHOLE = Certificates("client-cert", RFC9440, "tls:", GROUPS)


def access(settings: Certificates = NAMED) -> Access:
    return Access([], CertificateAuthenticator(settings, PROXIES))


def certificate(ends: datetime) -> str:
    """What a proxy sends of a certificate (RFC 9440)."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example"),
            x509.NameAttribute(NameOID.COMMON_NAME, "pump, no. 7"),
        ]
    )
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(ends - timedelta(days=2))
        .not_valid_after(ends)
        .sign(key, hashes.SHA256())
    )
    return f":{base64.b64encode(made.public_bytes(Encoding.DER)).decode()}:"


async def test_a_trusted_proxy_names_the_client() -> None:
    expected = Principal("CN=alice,O=Example", GROUPS, method="certificate")
    headers = {"x-client-subject": "CN=alice,O=Example"}
    for proxy in ("10.1.2.3", "::1", "::ffff:10.1.2.3"):  # the last where both kinds may connect
        assert access().known(headers, proxy) == expected
        assert await access().principal(headers, proxy) == expected


@pytest.mark.parametrize("peer", ["192.0.2.1", "::2", "", None, "unix"])
async def test_nobody_else_can(peer: str | None, caplog: pytest.LogCaptureFixture) -> None:
    one = access()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert await one.principal({"x-client-subject": "CN=alice"}, peer) == ANONYMOUS
    assert len(caplog.messages) == 1
    assert "alice" not in caplog.text


@pytest.mark.parametrize("value", ["", " ", "a\tb", "a" * 256])
async def test_a_subject_that_is_no_name_is_refused(value: str) -> None:
    with pytest.raises(UnauthorizedError) as caught:
        await access().principal({"x-client-subject": value}, "10.0.0.1")
    assert caught.value.challenges == ('Certificate realm="restms"',)


async def test_a_whole_certificate_names_its_subject_and_its_end() -> None:
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    found = await access(WHOLE).principal({"client-cert": certificate(ends)}, "10.0.0.1")
    assert found == Principal(
        r"tls:CN=pump\, no. 7,O=Example", GROUPS, ends.timestamp(), "certificate"
    )


@pytest.mark.parametrize(
    "value",
    [
        certificate(datetime.now(UTC) - timedelta(seconds=1)),
        certificate(datetime.now(UTC) + timedelta(days=1)).strip(":"),
        certificate(datetime.now(UTC) + timedelta(days=1))[:-8] + ":",
        "::",
        ":",
        ":AAAA:",
        "CN=alice",
        ":\u00e9:",
    ],
)
async def test_what_is_no_certificate_is_refused(value: str) -> None:
    with pytest.raises(UnauthorizedError):
        await access(WHOLE).principal({"client-cert": value}, "10.0.0.1")


async def test_credentials_of_the_clients_own_go_before_what_the_proxy_says(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("")
    both = Access([KeysAuthenticator(path)], CertificateAuthenticator(NAMED, PROXIES))
    headers = {"x-client-subject": "CN=alice", "authorization": "Bearer wrong"}
    with pytest.raises(UnauthorizedError) as caught:
        await both.principal(headers, "10.0.0.1")
    assert caught.value.challenges == ('Bearer realm="restms"',)


def test_both_headers_must_come_once() -> None:
    assert access().once == {"authorization", "x-client-subject"}
    assert Access().once == {"authorization"}
