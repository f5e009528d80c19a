"""Names and passwords (RFC 7617), against a file of argon2id's hashes.

To check one takes some 20 ms and 19 MiB, so this is done in threads, few at a time;
and there are only so many who wait for it. The same credentials are checked
once, however many requests come with them meanwhile.
"""

import base64
import binascii
from pathlib import Path

import trio

from restms_cluster.errors import UnavailableError
from restms_node import users_file
from restms_node.access import REALM
from restms_node.credential_lines import MOST_PASSWORD_BYTES
from restms_node.principals import Principal
from restms_node.remembered import Remembered
from restms_node.watched_file import WatchedFile

AT_A_TIME = 2
MOST_WAITING = 64


class BasicAuthenticator:
    """Asks for a name and a password."""

    scheme = "basic"
    challenge = f'Basic {REALM}, charset="UTF-8"'

    def __init__(self, path: Path) -> None:
        """Read the file. Raises StartError."""
        self._file = WatchedFile(path, users_file.read)
        self._limiter = trio.CapacityLimiter(AT_A_TIME)
        self._under_way: dict[str, _Check] = {}

    async def check(self, credentials: str) -> Principal | None:
        """Return whose they are; None where they are wrong, which takes as long for anybody."""
        while (other := self._under_way.get(credentials)) is not None:
            await other.done.wait()
            if other.told:
                return other.principal
        under_way = self._under_way
        if len(under_way) >= MOST_WAITING:
            raise UnavailableError("Too many passwords are being checked; try again.")
        check = under_way[credentials] = _Check()
        try:
            check.principal = await self._checked(credentials)
            check.told = True
        finally:
            del under_way[credentials]
            check.done.set()
        return check.principal

    async def run(self, remembered: Remembered) -> None:
        """Read the file again when it changes."""

        def changed() -> None:
            self._under_way = {}  # what is under way may find what was right before
            remembered.forget()

        await self._file.run(changed)

    async def _checked(self, credentials: str) -> Principal | None:
        pair = decoded(credentials)
        if pair is None:
            return None
        name, password = pair
        users = self._file.value
        user = users.named.get(name)
        hashed = users.decoy if user is None else user.hash
        fits = await trio.to_thread.run_sync(
            users_file.fits, hashed, password, limiter=self._limiter
        )
        if user is None or not fits:
            return None
        return Principal(name, user.groups, method="basic")


class _Check:
    """A check under way: `told` when it came to an end, and was not cancelled."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.told = False
        self.principal: Principal | None = None


def decoded(credentials: str) -> tuple[str, bytes] | None:
    """Return the name and the password in credentials (RFC 7617 2); None where they are none."""
    try:
        plain = base64.b64decode(credentials, validate=True)
    except (binascii.Error, ValueError):
        return None
    raw, colon, password = plain.partition(b":")
    if not colon or len(password) > MOST_PASSWORD_BYTES:
        return None
    try:
        return raw.decode(), password
    except UnicodeDecodeError:
        return None
