"""Which names a server answers to: the defence against DNS rebinding.

A web page can have its own name lead to 127.0.0.1. Browsers then hold a server
there for a part of the page, which may ask it for anything. What gives such a
request away is its Host: that is the page's name, and no page can say another.
"""

from ipaddress import ip_address
from urllib.parse import urlsplit

from restms_cluster.errors import MisdirectedError
from restms_node.config import Settings

ANY = "*"


class Hosts:
    """Knows the names in a request's Host that are this server's.

    They matter where no authenticator asks who comes in, since then to reach the
    server is all that it takes; and wherever the settings name some.
    """

    def __init__(self, settings: Settings) -> None:
        """Begin; `settings.hosts` are names beside those of the machine itself."""
        open_to_the_machine = not settings.authenticators and not settings.insecure
        self._matters = bool(settings.hosts or open_to_the_machine) and ANY not in settings.hosts
        base = urlsplit(settings.base_url).hostname
        self._names = frozenset((*settings.hosts, *((base,) if base else ())))

    def knows(self, authority: str | None) -> bool:
        """Tell whether a Host is this server's; without one, as only programs are, it is."""
        if not self._matters or not authority:
            return True
        try:
            name = urlsplit(f"//{authority}").hostname or ""
        except ValueError:  # no address in its brackets
            return False
        name = name.rstrip(".")
        return name in self._names or name == "localhost" or _is_loopback(name)

    def check(self, authority: str | None) -> None:
        """Raise MisdirectedError for a Host that is not this server's."""
        if not self.knows(authority):
            raise MisdirectedError(
                "This server does not answer to that Host; its operator can name it in --hosts."
            )


def _is_loopback(name: str) -> bool:
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
