"""Signed tokens: the attacks that are known, and those who try them."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import RSAAlgorithm

from restms_node import token_keys
from restms_node.authenticator_jwt import TokenAuthenticator
from restms_node.configured_access import Tokens
from restms_node.principals import Principal
from restms_node.watched_file import LineError
from tests.access.conftest import Issuer

Forged = Callable[[Issuer, Issuer], str]


def part(value: object) -> str:
    """A part of a token."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def signed_by_secret(header: dict[str, Any], claims: str, secret: bytes) -> str:
    """A token signed by a shared secret, which PyJWT would refuse to make of a public key."""
    text = f"{part(header)}.{claims}"
    return f"{text}.{part(hmac.digest(secret, text.encode(), hashlib.sha256))}"


def claims_of(token: str) -> str:
    return token.split(".")[1]


def with_header(token: str, **header: Any) -> str:
    """A token with another header, and the signature of the first."""
    head, claims, signature = token.split(".")
    old = json.loads(base64.urlsafe_b64decode(head + "=="))
    new = {name: value for name, value in {**old, **header}.items() if value is not None}
    return f"{part(new)}.{claims}.{signature}"


def resigned(issuer: Issuer, **header: Any) -> str:
    """A token by the issuer's own key, with more in its header."""
    claims = json.loads(base64.urlsafe_b64decode(claims_of(issuer.token()) + "=="))
    return jwt.encode(claims, issuer.rsa, "RS256", headers={"kid": "r", **header})


DEEP_OBJECT = b'{"alg":' + b"[" * 2500
ENDLESS = b'{"exp": 1e999, "iss": "https://id.example"}'

ATTACKS: dict[str, Forged] = {
    "none": lambda i, s: f"{part({'alg': 'none', 'kid': 'r'})}.{claims_of(i.token())}.",
    "None": lambda i, s: f"{part({'alg': 'None'})}.{claims_of(i.token())}.",
    "none with a signature": lambda i, s: with_header(i.token(), alg="none"),
    "HS256 by the public key": lambda i, s: signed_by_secret(
        {"alg": "HS256", "kid": "r"}, claims_of(i.token()), i.pem
    ),
    "HS256 by nothing": lambda i, s: signed_by_secret({"alg": "HS256"}, claims_of(i.token()), b""),
    "another's key": lambda i, s: s.token(),
    "another's key under no name": lambda i, s: s.token(kid=None),
    "another's key in the header": lambda i, s: jwt.encode(
        {"iss": "https://id.example", "aud": "restms", "sub": "alice", "exp": time.time() + 60},
        s.rsa,
        "RS256",
        headers={"jwk": RSAAlgorithm.to_jwk(s.rsa.public_key(), as_dict=True), "kid": "r"},
    ),
    "another's URL in the header": lambda i, s: jwt.encode(
        {"iss": "https://id.example", "aud": "restms", "sub": "alice", "exp": time.time() + 60},
        s.rsa,
        "RS256",
        headers={"jku": "http://127.0.0.1:1/", "x5u": "http://127.0.0.1:1/", "kid": "r"},
    ),
    "an algorithm that is not configured": lambda i, s: i.token(algorithm="PS256"),
    "an algorithm of another kind of key": lambda i, s: with_header(i.token(), alg="ES256"),
    "the name of another key": lambda i, s: i.token(kid="e"),
    "the name of no key": lambda i, s: i.token(kid="../../etc/passwd"),
    "a name to inject": lambda i, s: i.token(kid="r' OR '1'='1"),
    "a name that is a list": lambda i, s: with_header(i.token(), kid=["r"]),
    "an algorithm that is a list": lambda i, s: with_header(i.token(), alg=["RS256"]),
    "an algorithm that is missing": lambda i, s: with_header(i.token(), alg=None),
    "what must be understood": lambda i, s: resigned(i, crit=["exp"], exp=1),
    "an unencoded payload": lambda i, s: resigned(i, b64=False),
    "another issuer": lambda i, s: i.token(iss="https://evil.example"),
    "several issuers": lambda i, s: i.token(iss=None),
    "another audience": lambda i, s: i.token(aud="others"),
    "a part of the audience": lambda i, s: i.token(aud="rest"),
    "no audience": lambda i, s: i.token(aud=None),
    "no end": lambda i, s: i.token(exp=None),
    "an end that no clock will tell": lambda i, s: i.token(exp=10**400),
    "an end that is over": lambda i, s: i.token(exp=int(time.time()) - 31),
    "a beginning that is to come": lambda i, s: i.token(nbf=int(time.time()) + 60),
    "a birth that is to come": lambda i, s: i.token(iat=int(time.time()) + 60),
    "nobody": lambda i, s: i.token(sub=None),
    "an empty name": lambda i, s: i.token(sub=""),
    "a name with a line's end": lambda i, s: i.token(sub="alice\n"),
    "a long name": lambda i, s: i.token(sub="a" * 256),
    "groups that are a number": lambda i, s: i.token(groups=7),
    "groups of numbers": lambda i, s: i.token(groups=["a", 7]),
    "too many groups": lambda i, s: i.token(groups=[str(n) for n in range(257)]),
    "a changed name": lambda i, s: ".".join(
        (i.token().split(".")[0], claims_of(i.token(sub="bob")), i.token().split(".")[2])
    ),
    "a cut signature": lambda i, s: i.token()[:-4],
    "no signature": lambda i, s: i.token().rpartition(".")[0] + ".",
    "two parts": lambda i, s: i.token().rpartition(".")[0],
    "four parts": lambda i, s: i.token() + ".x",
    "too large": lambda i, s: i.token(more="x" * 8192),
    "deep": lambda i, s: f"{part(b'[' * 3000)}.{part(b'[' * 3000)}.x",
    "deep in an object": lambda i, s: f"{part(DEEP_OBJECT)}.{part({})}.x",
    "a number too large": lambda i, s: f"{part({'alg': 'RS256'})}.{part(ENDLESS)}.AA",
    "two tokens": lambda i, s: f"{i.token()}, Bearer {i.token()}",
    "not base64": lambda i, s: "\u00e9.\u00e9.\u00e9",
    "nothing": lambda i, s: "..",
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
async def test_an_attack_is_refused(
    attack: Forged, tokens: Tokens, issuer: Issuer, stranger: Issuer
) -> None:
    authenticator = TokenAuthenticator(tokens)
    assert await authenticator.check(issuer.token()) is not None
    assert await authenticator.check(attack(issuer, stranger)) is None


async def test_a_token_names_its_principal(tokens: Tokens, issuer: Issuer) -> None:
    authenticator, end = TokenAuthenticator(tokens), int(time.time()) + 60
    token = issuer.token(exp=end, groups=["staff", "admins"])
    expected = Principal("alice", frozenset(("staff", "admins")), end + 30.0, "jwt")
    assert await authenticator.check(token) == expected
    for right in (
        issuer.token(exp=end, groups="staff admins"),
        issuer.token(exp=end, groups=["staff", "admins"], aud=["others", "restms"]),
        issuer.token(exp=end, groups=["staff", "admins"], kid=None),
        issuer.token(
            exp=end, groups=["staff", "admins"], key=issuer.ec, algorithm="ES256", kid="e"
        ),
    ):
        assert await authenticator.check(right) == expected


async def test_the_claims_are_configured(tokens: Tokens, issuer: Issuer) -> None:
    other = replace(tokens, name="email", groups="roles", prefix="idp:", leeway=0.0)
    token = issuer.token(email="a@example.org", roles=["r"], groups=["x"], exp=9_999_999_999)
    assert await TokenAuthenticator(other).check(token) == Principal(
        "idp:a@example.org", frozenset(("idp:r",)), 9_999_999_999.0, "jwt"
    )


async def test_the_leeway_is_as_long_as_it_says(tokens: Tokens, issuer: Issuer) -> None:
    late = issuer.token(exp=int(time.time()) - 20)
    assert await TokenAuthenticator(tokens).check(late) is not None
    assert await TokenAuthenticator(replace(tokens, leeway=0.0)).check(late) is None


async def test_a_file_may_have_keys_in_pem(
    tokens: Tokens, tmp_path: Path, issuer: Issuer, stranger: Issuer
) -> None:
    path = tmp_path / "keys.pem"
    path.write_bytes(stranger.pem + b"\nand then\n" + issuer.pem)
    authenticator = TokenAuthenticator(replace(tokens, keys=path))
    for one in (issuer, stranger):
        assert await authenticator.check(one.token(kid="whatever")) is not None
    assert await authenticator.check(Issuer().token()) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"d": "AQAB"}, "private key"),
        ({"kty": "oct", "k": "AQAB"}, "no public key"),
        ({"use": "enc"}, "no public key"),
        ({"n": "AQAB"}, "no public key"),
        ({"n": 5}, "no public key"),
        ({"n": None}, "no public key"),
        ({"kty": ["RSA"]}, "are texts"),
        ({"alg": 7}, "are texts"),
    ],
)
def test_a_set_of_keys_may_be_of_no_use(
    issuer: Issuer, change: dict[str, Any], reason: str
) -> None:
    jwk = {**issuer.jwks["keys"][0], **change}
    with pytest.raises(LineError, match=reason):
        token_keys.read(json.dumps({"keys": [jwk]}).encode())


def test_a_key_that_is_too_short_is_none() -> None:
    short = rsa.generate_private_key(65537, 1024).public_key()  # noqa: S505, see above
    jwk = RSAAlgorithm.to_jwk(short, as_dict=True)
    with pytest.raises(LineError, match="no public key"):
        token_keys.read(json.dumps({"keys": [jwk]}).encode())


def test_keys_that_never_end_are_looked_through_once() -> None:
    begun = time.process_time()
    with pytest.raises(LineError, match="no public key"):
        token_keys.read(b"-----BEGIN PUBLIC KEY-----\n" * 9000)  # of as many bytes as are fetched
    assert time.process_time() - begun < 2  # and not half a minute


def test_the_use_that_a_key_names_is_its_only_one(issuer: Issuer) -> None:
    jwk = {**issuer.jwks["keys"][0], "alg": "PS256"}
    (key,) = token_keys.read(json.dumps({"keys": [jwk]}).encode())
    assert key.algorithms == {"PS256"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
JWK = st.fixed_dictionaries(
    {"kty": st.sampled_from(["RSA", "EC", "OKP", "oct"]) | JSON},
    optional={
        **dict.fromkeys(("n", "e", "x", "y", "kid", "alg", "use"), JSON),
        "crv": st.sampled_from(["P-256", "Ed25519", "X25519", "secp256k1"]) | JSON,
    },
)


@given(
    st.fixed_dictionaries({"keys": st.lists(JWK, max_size=3) | JSON}).map(json.dumps) | st.text()
)
def test_any_set_is_read_or_refused(text: str) -> None:
    try:
        keys = token_keys.read(text.encode("utf-8", "replace"))
    except LineError as error:
        assert str(error).endswith(".")  # noqa: PT017, either is right
    else:
        assert keys
