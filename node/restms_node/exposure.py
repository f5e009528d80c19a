"""Where a server listens, and that it does not stand open to other machines by mistake."""

import socket
from ipaddress import ip_address
from typing import Any, TypeAlias

from restms_cluster.errors import StartError
from restms_node.config import Settings

Place: TypeAlias = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]
"""As getaddrinfo() gives it."""


def place_of(settings: Settings) -> Place:
    """Return where to listen.

    Raises StartError where there is no such address, and where others than
    this machine could come in without being asked who they are.
    """
    try:
        found = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise cannot_listen(settings, error) from error
    guarded = settings.authenticators or settings.insecure
    if not guarded and not all(_is_loopback(str(place[4][0])) for place in found):
        raise StartError(
            f"{settings.bind} can be reached from other machines, and no authenticator is "
            "configured: name one in the file that --config gives, or say --insecure."
        )
    return found[0]


def cannot_listen(settings: Settings, error: OSError) -> StartError:
    """Return what ends the start where the address cannot be had."""
    return StartError(f"Cannot listen on {settings.bind}: {error.strerror}.")


def _is_loopback(address: str) -> bool:
    return ip_address(address).is_loopback
