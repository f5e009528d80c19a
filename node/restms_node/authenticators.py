"""From what is configured to what asks: only what is configured is imported, for it is large."""

# ruff: noqa: PLC0415, see above

from restms_node.access import Access, Authenticator
from restms_node.config import Settings


def make_access(settings: Settings) -> Access:
    """Make a node's access; its files are read. Raises StartError, which tells file and line."""
    configured = settings.authenticators
    made: list[Authenticator] = []
    if configured.basic is not None:
        from restms_node.authenticator_basic import BasicAuthenticator

        made.append(BasicAuthenticator(configured.basic))
    if configured.keys is not None:
        from restms_node.authenticator_keys import KeysAuthenticator

        made.append(KeysAuthenticator(configured.keys))
    for tokens in configured.tokens:
        from restms_node.authenticator_jwt import TokenAuthenticator

        made.append(TokenAuthenticator(tokens))
    forwarded = None
    if configured.certificates is not None:
        from restms_node.authenticator_certificate import CertificateAuthenticator

        forwarded = CertificateAuthenticator(configured.certificates, settings.trusted_proxies)
    return Access(made, forwarded)
