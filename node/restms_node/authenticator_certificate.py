"""Clients whose certificate a proxy has seen, and tells of in a header.

TLS ends at the proxy, so all that a node has is its word: it believes those
that `trusted_proxies` names, and nobody else.
"""

import base64
import binascii
import time
from functools import lru_cache

from restms_node.clients import is_proxy
from restms_node.configured_access import RFC9440, Certificates
from restms_node.principals import Principal, is_principal_name
from restms_node.values import Network

MOST_REMEMBERED = 1024


class CertificateAuthenticator:
    """Reads a proxy's header: a subject as the proxy writes it, or a certificate (RFC 9440)."""

    def __init__(self, settings: Certificates, proxies: tuple[Network, ...]) -> None:
        self.header = settings.header
        self._settings = settings
        self._proxies = proxies
        self._named = lru_cache(maxsize=MOST_REMEMBERED)(self._read)

    def trusts(self, peer: str | None) -> bool:
        """Tell whether a client with this address is a trusted proxy."""
        return is_proxy(self._proxies, peer)

    def check(self, value: str) -> Principal | None:
        """Return whom the header names; None for what names nobody, or not any more."""
        principal = self._named(value)
        if principal and principal.expires is not None and principal.expires <= time.time():
            return None
        return principal

    def _read(self, value: str) -> Principal | None:
        subject, expires = value, None
        if self._settings.form == RFC9440:
            found = _certificate(value)
            if found is None:
                return None
            subject, expires = found
        name = self._settings.prefix + subject
        if not subject or not is_principal_name(name):
            return None
        return Principal(name, self._settings.groups, expires, method="certificate")


def _certificate(value: str) -> tuple[str, float] | None:
    """Return the subject (RFC 4514) of a certificate in a header, and when it ends."""
    from cryptography import x509  # noqa: PLC0415, large, and only for those who have certificates

    try:
        if not value.startswith(":") or not value.endswith(":"):
            return None
        data = base64.b64decode(value[1:-1], validate=True)
        certificate = x509.load_der_x509_certificate(data)
        ends = certificate.not_valid_after_utc.timestamp()
        subject = certificate.subject.rfc4514_string()
    except (binascii.Error, ValueError):  # those of x509 are ValueErrors as well
        return None
    return subject, ends
