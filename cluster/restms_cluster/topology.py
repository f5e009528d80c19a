"""Which servers hold the state, as a URL says it: one, those that Sentinels name, or a cluster.

    redis://…, rediss://…, unix://…                      one server
    redis+sentinel://host:26379,host2/0?master=NAME      the primary that Sentinels watch
    redis+cluster://host:6379,host2/                     the servers of a Redis Cluster

With rediss+…, TLS is spoken to the servers, and to the Sentinels. Each host is
read as the URL of a single server is, with all that is refused there.
"""

import re
from dataclasses import dataclass, replace
from typing import TypeAlias
from urllib.parse import parse_qsl, urlencode

from restms_cluster.address import Address, refuse

REDIS_PORT, SENTINEL_PORT = 6379, 26379
MOST_HOSTS = 100
_SENTINEL_OPTIONS = ("master", "sentinel_username", "sentinel_password")


@dataclass(frozen=True, slots=True)
class Sentinels:
    """Sentinels, and the name by which they know the primary that they watch.

    `primary` has the database and the credentials for the server that they
    name. `str()` is safe to log.
    """

    addresses: tuple[Address, ...]
    master: str
    primary: Address

    def __str__(self) -> str:
        """Return the URL without user names, passwords and options."""
        scheme = "rediss" if self.primary.tls else "redis"
        return (
            f"{scheme}+sentinel://{_hosts(self.addresses)}/{self.primary.db}?master={self.master}"
        )


@dataclass(frozen=True, slots=True)
class Seeds:
    """Some servers of a Redis Cluster, which know the others. `str()` is safe to log."""

    addresses: tuple[Address, ...]

    def __str__(self) -> str:
        """Return the URL without user names, passwords and options."""
        scheme = "rediss" if self.addresses[0].tls else "redis"
        return f"{scheme}+cluster://{_hosts(self.addresses)}/"


Topology: TypeAlias = Address | Sentinels | Seeds


def parse_topology(url: str) -> Topology:
    """Read a URL; StartError, which does not show it, if it is not a good one."""
    scheme = url.partition("://")[0]
    if scheme in ("redis+sentinel", "rediss+sentinel"):
        return _sentinels(url)
    if scheme in ("redis+cluster", "rediss+cluster"):
        return _cluster(url)
    return Address.parse(url)


def _sentinels(url: str) -> Sentinels:
    head, _, query = url.partition("?")
    options = parse_qsl(query, keep_blank_values=True)
    ours = [(name, value) for name, value in options if name in _SENTINEL_OPTIONS]
    values = dict(ours)
    if len(values) < len(ours) or not all(values.values()):
        refuse(f"has one of the options {', '.join(_SENTINEL_OPTIONS)} twice or without a value")
    master = values.get("master")
    if master is None or not master.isprintable() or " " in master:
        refuse("must say what the Sentinels call the primary, as in ?master=mymaster")
    others = urlencode([(name, value) for name, value in options if name not in _SENTINEL_OPTIONS])
    found = _each_host(f"{head}?{others}" if others else head, SENTINEL_PORT)
    sentinels = tuple(
        replace(
            address,
            db=0,
            username=values.get("sentinel_username"),
            password=values.get("sentinel_password"),
        )
        for address in found
    )
    return Sentinels(sentinels, master, replace(found[0], primary=True))


def _cluster(url: str) -> Seeds:
    found = _each_host(url, REDIS_PORT)
    if found[0].db:
        refuse("has the number of a database, of which a Redis Cluster has only 0")
    return Seeds(tuple(replace(address, primary=False) for address in found))


def _each_host(url: str, port: int) -> tuple[Address, ...]:
    """Read the URL once for each of its hosts; `port` is of those that name none."""
    scheme, _, rest = url.partition("://")
    scheme = scheme.partition("+")[0]
    place = re.split("[/?#]", rest, maxsplit=1)[0]
    credentials, at, hosts = place.rpartition("@")
    tail = rest[len(place) :]
    names = hosts.split(",")
    if not all(names) or len(names) > MOST_HOSTS:
        refuse(f"must name from 1 to {MOST_HOSTS} hosts, with a comma between them")
    return tuple(
        Address.parse(f"{scheme}://{credentials}{at}{_with_port(name, port)}{tail}")
        for name in names
    )


def _with_port(host: str, port: int) -> str:
    return host if ":" in host.rpartition("]")[2] else f"{host}:{port}"


def _hosts(addresses: tuple[Address, ...]) -> str:
    return ",".join(str(address).partition("://")[2].rpartition("/")[0] for address in addresses)
