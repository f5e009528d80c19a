"""Credentials that were right a moment ago, so that a client who comes back costs nothing."""

import hashlib
import secrets
import time

from restms_node.principals import Principal

KEPT_SECONDS = 300.0
MOST_KEPT = 10_000


class Remembered:
    """Principals by their credentials, of which only a MAC is kept; its key is this process's own.

    Who does not come for KEPT_SECONDS is forgotten, and so are all at the end of their
    credentials; beyond `most`, those who came longest ago. Who comes again and again stays, so
    that others who try passwords do not keep him waiting. `generation` grows
    when all are forgotten: what was found out before then must not be kept.
    """

    def __init__(self, most: int = MOST_KEPT) -> None:
        self.generation = 0
        self._most = most
        self._key = secrets.token_bytes(32)
        self._kept: dict[bytes, tuple[float, Principal]] = {}

    def mac(self, credentials: str) -> bytes:
        """Return what stands for credentials: BLAKE2b keyed (RFC 7693), which is a MAC."""
        text = credentials.encode("utf-8", "surrogateescape")
        return hashlib.blake2b(text, digest_size=32, key=self._key).digest()

    def get(self, mac: bytes) -> Principal | None:
        """Return whose credentials those are, if they were right not long ago."""
        found = self._kept.get(mac)
        if found is None:
            return None
        until, principal = found
        expires = principal.expires
        del self._kept[mac]
        if time.monotonic() >= until or (expires is not None and time.time() >= expires):
            return None
        self._kept[mac] = (time.monotonic() + KEPT_SECONDS, principal)  # now the last in order
        return principal

    def keep(self, mac: bytes, principal: Principal, generation: int) -> None:
        """Remember a principal that was found out in a generation."""
        if generation != self.generation:
            return
        self._kept.pop(mac, None)
        self._kept[mac] = (time.monotonic() + KEPT_SECONDS, principal)
        if len(self._kept) > self._most:
            del self._kept[next(iter(self._kept))]

    def forget(self) -> None:
        """Forget all, for what made their credentials right has changed."""
        self.generation += 1
        self._kept.clear()
