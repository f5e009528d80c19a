"""The public keys that an issuer signs its tokens with: a set of JWKs (RFC 7517), or PEM.

What they may be used for is said by what they are, never by a token: a key of
RSA fits the algorithms of RSA alone, and a shared key fits none.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import jwt
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from restms_node.configured_access import EDDSA
from restms_node.watched_file import LineError

LEAST_RSA_BITS = 2048
MOST_KEYS = 64

PublicKey: TypeAlias = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

_RSA = frozenset(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"))
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_READERS: Mapping[str, Callable[[dict[str, Any]], object]] = {
    "RSA": RSAAlgorithm.from_jwk,
    "EC": ECAlgorithm.from_jwk,
    "OKP": OKPAlgorithm.from_jwk,
}
_PEM = re.compile(rb"-----BEGIN (PUBLIC KEY|CERTIFICATE)-----\s[^-]*-----END \1-----")


@dataclass(frozen=True, slots=True)
class TokenKey:
    """A public key, the algorithms that it is for, and its name if it has one."""

    id: str | None
    algorithms: frozenset[str]
    key: PublicKey


Keys: TypeAlias = tuple[TokenKey, ...]


def read(data: bytes) -> Keys:
    """Read a file or a body of keys. Raises LineError."""
    found = _read_pem(data) if data.lstrip().startswith(b"-----") else _read_set(data)
    keys = tuple(found)
    if not keys:
        raise LineError("There is no public key here that tokens could be checked with.", 1)
    return keys


def fitting(keys: Keys, algorithm: str, id: str | None) -> Keys:
    """Return the keys that a token may be signed with, which names an algorithm and perhaps a key.

    A key without a name may be any; a token without one may be signed with any.
    """
    return tuple(
        key
        for key in keys
        if algorithm in key.algorithms and (id is None or key.id is None or key.id == id)
    )


def _read_pem(data: bytes) -> Iterable[TokenKey]:
    for found in _PEM.finditer(data):
        line = data.count(b"\n", 0, found.start()) + 1
        try:
            if found[1] == b"CERTIFICATE":
                public: object = x509.load_pem_x509_certificate(found[0]).public_key()
            else:
                public = load_pem_public_key(found[0])
        except (ValueError, UnsupportedAlgorithm):
            raise LineError("This is no public key in PEM.", line) from None
        key = _key(public)
        if key is None:
            raise LineError("This kind of key, or its length, is not for tokens.", line)
        yield key


def _read_set(data: bytes) -> Iterable[TokenKey]:
    try:
        found = json.loads(data)
    except json.JSONDecodeError as error:
        raise LineError("This is neither JSON nor PEM.", error.lineno) from None
    except (ValueError, RecursionError):  # no UTF-8, or too deep
        found = None
    keys = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise LineError("This is not a set of keys (RFC 7517).", 1)
    if len(keys) > MOST_KEYS:
        raise LineError(f"There are more than {MOST_KEYS} keys here.", 1)
    return filter(None, map(_of_set, keys))


def _of_set(jwk: dict[str, Any]) -> TokenKey | None:
    """Return a key of a set, if it is one for tokens."""
    kind, algorithm = jwk.get("kty"), jwk.get("alg", "")
    if not isinstance(kind, str) or not isinstance(algorithm, str):
        raise LineError("The kty and the alg of a key are texts.", 1)
    reader = _READERS.get(kind)
    if reader is None or jwk.get("use", "sig") != "sig":
        return None  # what else is in a set is for others: keys to encrypt with, kinds to come
    if "d" in jwk:
        raise LineError("This set holds a private key, which is nobody's but its issuer's.", 1)
    try:
        public = reader(jwk)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, UnsupportedAlgorithm):
        return None
    return _key(public, jwk.get("kid"), algorithm)


def _key(public: object, id: object = None, algorithm: str = "") -> TokenKey | None:
    match public:
        case RSAPublicKey() if public.key_size >= LEAST_RSA_BITS:
            algorithms = _RSA
        case EllipticCurvePublicKey() if public.curve.name in _CURVES:
            algorithms = frozenset((_CURVES[public.curve.name],))
        case Ed25519PublicKey():
            algorithms = frozenset((EDDSA,))
        case _:
            return None
    if algorithm:
        algorithms = algorithms & {algorithm}
    return TokenKey(id if isinstance(id, str) else None, algorithms, public)
