"""Redis as `deploy/` sets it up, its access list with it: nodes may do there what they need only.

with Cluster(2, redis=Guarded(directory)) as cluster:
    ...                       # the nodes are the user `restms`
    cluster.redis.client()    # may do everything
"""

import hashlib
from pathlib import Path

import redis

from tests.servers import Server

DEPLOY = Path(__file__).parents[1] / "deploy"
CONFIGURATION, USERS = DEPLOY / "redis.conf", DEPLOY / "users.acl"
DATA = "dir /var/lib/redis"
PASSWORDS = {name: f"the-password-of-{name}" for name in ("restms", "operator", "admin")}


class Guarded(Server):
    """One server. `url` is that of nodes."""

    def __init__(self, directory: Path, *extra: str, binary: Path | None = None) -> None:
        users = directory / "users.acl"
        users.write_text(filled(USERS.read_text()))
        # As shipped, but for the folder of the data: it is there only where Redis is installed.
        configuration = directory / "redis.conf"
        configuration.write_text(CONFIGURATION.read_text().replace(DATA, f"dir {directory}"))
        super().__init__(
            directory, "--aclfile", str(users), *extra, binary=binary, configuration=configuration
        )
        self.url = self.url_of("restms")

    def client(self, name: str = "admin") -> "redis.Redis":
        """Return a client of that user; an administrator, who may do everything, by default."""
        return redis.Redis.from_url(self.url_of(name), protocol=2)

    def url_of(self, name: str) -> str:
        """Return the URL with a user's name and password."""
        return f"unix://{self.socket}?username={name}&password={PASSWORDS[name]}"


def filled(users: str) -> str:
    """Return the access list with the tests' passwords, as an operator puts in those of his own."""
    for name, password in PASSWORDS.items():
        digest = hashlib.sha256(password.encode()).hexdigest()
        users = users.replace(f"{name.upper()}_SHA256", digest)
    return users
