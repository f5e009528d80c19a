"""Keys for programs: `Authorization: Bearer PREFIX.SECRET` (RFC 6750 2.1)."""

import secrets
import time
from pathlib import Path

from restms_node import keys_file
from restms_node.access import REALM
from restms_node.principals import Principal
from restms_node.remembered import Remembered
from restms_node.watched_file import WatchedFile

_NOBODY = "0" * 64


class KeysAuthenticator:
    """Asks for a key."""

    scheme = "bearer"
    challenge = f"Bearer {REALM}"

    def __init__(self, path: Path) -> None:
        """Read the file. Raises StartError."""
        self._file = WatchedFile(path, keys_file.read)

    async def check(self, credentials: str) -> Principal | None:
        """Return whose key that is; None where it is wrong, or its time is over."""
        parts = keys_file.split(credentials)
        if parts is None:
            return None
        prefix, secret = parts
        key = self._file.value.get(prefix)
        kept = _NOBODY if key is None else key.hash
        fits = secrets.compare_digest(keys_file.hash_of(secret), kept)
        if key is None or not fits or (key.expires is not None and key.expires <= time.time()):
            return None
        return Principal(key.name, key.groups, key.expires, method="keys")

    async def run(self, remembered: Remembered) -> None:
        """Read the file again when it changes."""
        await self._file.run(remembered.forget)
