"""Signed tokens of an issuer (RFC 7519): `Authorization: Bearer TOKEN` (RFC 6750 2.1).

What a token says of itself is believed of nothing but its signature's key, and of that
only which of the issuer's own keys it is. Algorithms come from the
configuration; every token must have an issuer, an audience and an end.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import jwt

from restms_cluster.errors import UnavailableError
from restms_node import token_keys
from restms_node.access import REALM
from restms_node.configured_access import Tokens
from restms_node.principals import Principal, is_principal_name
from restms_node.remembered import Remembered
from restms_node.token_keys import Keys, TokenKey
from restms_node.token_keys_fetched import FetchedKeys
from restms_node.watched_file import WatchedFile

MOST_TOKEN_BYTES = 8 * 1024
MOST_GROUPS = 256

# Beside PyJWT's own errors, what becomes of strange JSON: numbers too large, lists too deep.
_WRONG = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)


class KeySource(Protocol):
    """Where an issuer's keys are."""

    @property
    def keys(self) -> Keys:
        """The keys. Raises UnavailableError where there are none."""
        ...

    async def renew(self) -> None:
        """Look whether there are others."""

    async def run(self, changed: Callable[[], None]) -> None:
        """Keep them up to date."""


class TokenAuthenticator:
    """Asks for a token of one issuer."""

    scheme = "bearer"
    challenge = f"Bearer {REALM}"

    def __init__(self, settings: Tokens) -> None:
        """Read the keys, where they are in a file. Raises StartError."""
        self._settings = settings
        self._source: KeySource
        if isinstance(settings.keys, Path):
            self._source = KeysInFile(settings.keys)
        else:
            self._source = FetchedKeys(settings.keys)

    async def check(self, credentials: str) -> Principal | None:
        """Return whom the token names; None where it is wrong, or of another issuer."""
        algorithm, id = self._named_key(credentials)
        if algorithm is None:
            return None
        keys = await self._keys(algorithm, id)
        for key in keys:
            claims = self._claims(credentials, key, algorithm)
            if claims is not None:
                return self._principal(claims)
        return None

    async def run(self, remembered: Remembered) -> None:
        """Keep the keys up to date."""
        await self._source.run(remembered.forget)

    def _named_key(self, token: str) -> tuple[str | None, str | None]:
        """Return the algorithm and the key that a token names; nothing where it cannot be ours."""
        if len(token) > MOST_TOKEN_BYTES or token.count(".") != 2:
            return None, None
        try:
            parts = jwt.decode_complete(token, options={"verify_signature": False})
        except _WRONG:
            return None, None
        header, algorithm = parts["header"], parts["header"].get("alg")
        if algorithm not in self._settings.algorithms or "crit" in header:
            return None, None
        if parts["payload"].get("iss") != self._settings.issuer:
            return None, None
        return algorithm, header.get("kid")

    async def _keys(self, algorithm: str, id: str | None) -> Keys:
        found: Keys = ()
        with suppress(UnavailableError):
            found = token_keys.fitting(self._source.keys, algorithm, id)
        if not found:
            await self._source.renew()
            found = token_keys.fitting(self._source.keys, algorithm, id)
        return found

    def _claims(self, token: str, key: TokenKey, algorithm: str) -> dict[str, Any] | None:
        settings = self._settings
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key.key,
                algorithms=[algorithm],
                audience=settings.audience,
                issuer=settings.issuer,
                leeway=settings.leeway,
                options={"require": ["exp", "iss", "aud"]},
            )
            claims["exp"] = float(claims["exp"])  # here, for what is too large is wrong as well
        except _WRONG:
            return None
        return claims

    def _principal(self, claims: dict[str, Any]) -> Principal | None:
        settings = self._settings
        groups = claims.get(settings.groups, [])
        if isinstance(groups, str):
            groups = groups.split()
        if not isinstance(groups, list) or len(groups) > MOST_GROUPS:
            return None
        name, *names = (
            settings.prefix + text if isinstance(text, str) and text else ""
            for text in (claims.get(settings.name), *groups)
        )
        if not all(map(is_principal_name, (name, *names))):
            return None
        expires = claims["exp"] + settings.leeway
        return Principal(name, frozenset(names), expires, method="jwt")


class KeysInFile:
    """Keys in a file, which is read again when it changes."""

    def __init__(self, path: Path) -> None:
        """Read the file. Raises StartError."""
        self._file = WatchedFile(path, token_keys.read)

    @property
    def keys(self) -> Keys:
        """The keys."""
        return self._file.value

    async def renew(self) -> None:
        """Do nothing: the file is looked at anyway."""

    async def run(self, changed: Callable[[], None]) -> None:
        """Read the file again when it changes."""
        await self._file.run(changed)
