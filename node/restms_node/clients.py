"""Which client a request comes from, by its address: what trusted proxies tell, or the peer."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from restms_node.values import Network

FORWARDED = "x-forwarded-for"
PREFIX_BITS = 64  # of IPv6: whoever has one address has so many


def client_of(proxies: Sequence[Network], peer: str | None, headers: Mapping[str, str]) -> str:
    """Return the address of the client, of IPv6 its network; empty where there is none.

    It is the last one of X-Forwarded-For that is no trusted proxy, if a trusted
    proxy sent the request: what stands before that anybody may have written.
    """
    address = _address(peer or "")
    if address is None:
        return ""
    for told in reversed(headers.get(FORWARDED, "").split(",") if proxies else ()):
        if not any(address in network for network in proxies):
            break
        before = _address(told.strip())
        if before is None:
            break
        address = before
    return _shared(address)


def is_proxy(proxies: Sequence[Network], peer: str | None) -> bool:
    """Tell whether that is the address of a trusted proxy; a Unix socket's peer has none."""
    address = _address(peer or "")
    return address is not None and any(address in network for network in proxies)


@lru_cache(maxsize=4096)
def _address(text: str) -> IPv4Address | IPv6Address | None:
    host = text
    if text.startswith("["):
        host = text[1:].partition("]")[0]  # some proxies add the port
    elif text.count(":") == 1:
        host = text.partition(":")[0]
    try:
        found = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _shared(address: IPv4Address | IPv6Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((address, PREFIX_BITS), strict=False))
